"""docs/operating.md says what is there."""

from __future__ import annotations

import re
import subprocess

import pytest

from graft.settings import Settings
from tests.deploy.running import DEPLOY
from tests.parts.gateway import PROJECT

GUIDE = PROJECT / "docs" / "operating.md"


@pytest.mark.parametrize("document", ["operating.md", "faults.md", "security.md"])
def test_every_link_leads_somewhere(document: str) -> None:
    text = (GUIDE.parent / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (GUIDE.parent / link).exists()] == []


def test_every_setting_that_is_named_exists() -> None:
    known = {field.validation_alias.choices[0] for field in Settings.model_fields.values()}  # type: ignore[union-attr]
    named = set(re.findall(r"\bGRAFT_[A-Z_]+\b", GUIDE.read_text() + (GUIDE.parent / "faults.md").read_text()))
    assert named - known == set()


def test_the_shell_lines_are_shell_and_fill_in_every_word_of_the_template() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.S)
    checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    words = set(re.findall(r"\$\{([A-Z0-9_]+)\}", (DEPLOY / "nginx" / "graft.conf.template").read_text()))
    assert words == set(re.findall(r"\b(NGINX_[A-Z0-9_]+)=", block))


def test_every_way_to_deploy_is_named() -> None:
    text = GUIDE.read_text()
    folders = [path.name for path in DEPLOY.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert [name for name in folders if f"deploy/{name}" not in text] == []
