from __future__ import annotations

import io
from pathlib import Path

import pytest
from flask import Flask

from tests.legacy_flask.portal import Browser, make_app, rows

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def send(browser: Browser, name: str, content: bytes, note: str = "") -> str:
    """What the page says after the upload."""
    answer = browser.post("/uploads", {"file": (io.BytesIO(content), name), "note": note}, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text


def test_a_file_is_stored_listed_downloaded_and_deleted(reader: Browser, data: Path) -> None:
    page = send(reader, "notes.md", "What we learned: größer".encode(), note="About <timeouts>")
    assert "File stored." in page
    assert "notes.md" in page
    assert "About &lt;timeouts&gt;" in page
    answer = reader.get("/uploads/1")
    assert answer.data == "What we learned: größer".encode()
    assert answer.headers["Content-Disposition"] == "attachment; filename=notes.md"
    assert answer.headers["Content-Type"].startswith("text/markdown")
    answer.close()
    assert "File deleted." in reader.post("/uploads/1/delete", follow_redirects=True).text
    assert list((data / "uploads").iterdir()) == []
    assert reader.get("/uploads/1").status_code == 404


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.txt", "..\\..\\windows.txt", "/abs/olute.txt", "a\x00b.txt", "C:x.txt"]
)
def test_a_sent_name_never_leads_out_of_the_folder(reader: Browser, data: Path, name: str) -> None:
    send(reader, name, b"text")
    (stored,) = (data / "uploads").iterdir()
    assert stored.suffix == ".txt"
    (row,) = rows(data, "SELECT name FROM uploads")
    assert "/" not in row["name"]
    assert ".." not in row["name"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("page.html", b"<script>", "not taken"),
        ("none", b"text", "not taken"),
        (".txt", b"text", "not taken"),
        ("empty.txt", b"", "is empty"),
        ("picture.png", b"no picture", "not what its ending .png says"),
        ("binary.txt", b"\xff\xfe\x00", "not what its ending .txt says"),
        ("nul.txt", b"a\0b", "not what its ending .txt says"),
        ("", b"text", "Choose a file"),
    ],
)
def test_a_file_of_the_wrong_type_is_refused(
    reader: Browser, data: Path, name: str, content: bytes, reason: str
) -> None:
    assert reason in send(reader, name, content)
    assert list((data / "uploads").iterdir()) == []


@pytest.mark.parametrize("name", ["PICTURE.PNG", "picture.png"])
def test_a_picture_is_taken_whatever_the_case_of_its_ending(reader: Browser, name: str) -> None:
    assert "File stored." in send(reader, name, PNG)


def test_a_form_without_a_file_is_explained(reader: Browser) -> None:
    assert "Choose a file first." in reader.post("/uploads", follow_redirects=True).text


def test_a_file_that_is_too_large_is_a_413_page(data: Path) -> None:
    browser = Browser(make_app(data, MAX_CONTENT_LENGTH=2000))
    browser.register()
    answer = browser.post("/uploads", {"file": (io.BytesIO(b"x" * 3000), "big.txt")})
    assert answer.status_code == 413
    assert "Too large" in answer.text
    assert "Signed in as marta" in answer.text


def test_there_is_a_limit_of_files(data: Path) -> None:
    browser = Browser(make_app(data, UPLOADS_PER_USER=1))
    browser.register()
    send(browser, "one.txt", b"1")
    assert "the limit is 1" in send(browser, "two.txt", b"2")


def test_files_of_others_are_out_of_reach(app: Flask, reader: Browser, data: Path) -> None:
    send(reader, "mine.txt", b"secret")
    other = Browser(app)
    other.register("theo")
    assert "mine.txt" not in other.get("/uploads").text
    answer = other.get("/uploads/1")
    assert answer.status_code == 403
    assert "somebody else" in answer.text
    assert other.post("/uploads/1/delete").status_code == 403
    assert len(list((data / "uploads").iterdir())) == 1


def test_files_need_an_account(app: Flask) -> None:
    assert Browser(app).get("/uploads/1").headers["Location"] == "/login?next=/uploads/1"


@pytest.mark.parametrize("number", [5, 2**63, 10**30])
def test_an_unknown_file_is_a_404(reader: Browser, number: int) -> None:
    assert reader.get(f"/uploads/{number}").status_code == 404
