"""docs/troubleshooting.md has every error text that the code can tell."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import PROJECT, Message, messages

PAGE = PROJECT / "docs" / "troubleshooting.md"
FAMOUS = [
    "Event loop is closed",
    "attached to a different loop",
    "Address already in use",
    "WORKER TIMEOUT",
    "502 Bad Gateway",
    "Perhaps out of memory",
    "Worker failed to boot",
    "Too many open files",
]


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def test_every_error_text_of_the_code_is_explained(page: str) -> None:
    missing = [message for message in messages() if message.key not in page]
    told = "\n".join(f"{message.place}: {message.text}" for message in missing)
    assert not missing, f"add to docs/troubleshooting.md what these mean and what to do:\n{told}"


@pytest.mark.parametrize("text", FAMOUS)
def test_the_errors_that_everybody_meets_are_explained(page: str, text: str) -> None:
    assert text in page


def test_the_scan_finds_messages_of_each_kind() -> None:
    found = {message.key for message in messages()}
    assert len(found) > 100
    assert "is not of the form module:attribute" in found  # a SettingError
    assert "could not be received" in found  # a log line
    assert "The admin token is missing" in found  # a response


def test_the_longest_constant_part_is_what_is_looked_up() -> None:
    assert Message("… of … documents were refused, … first: …", "x.py:1").key == "documents were refused"


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row


def test_links_to_other_pages_lead_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([\w./-]+\.md)", text):
        assert (PAGE.parent / link).exists(), link
    headings = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in text.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= headings
