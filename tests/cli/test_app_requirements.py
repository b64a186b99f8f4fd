from __future__ import annotations

from pathlib import Path

import flask
import pytest

from graft.cli.checks import Status
from graft.cli.checks.requirements import app_requirements
from graft.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(legacy: str = "shop:app") -> list[tuple[Status, str, str]]:
    return [(each.status, each.message, each.mend) for each in app_requirements(Settings.load(legacy=legacy))]


def test_what_the_apps_files_ask_for_is_compared_with_what_is_installed(folder: Path) -> None:
    (folder / "requirements.txt").write_text(
        "-r other.txt\ngunicorn<1  # as we always had\nflask>=2\nnot-there-at-all==1\nno-such; os_name == 'nt'\n"
    )
    (folder / "pyproject.toml").write_text('[project]\nname = "shop"\ndependencies = ["click<1"]\n')
    lines = [message for status, message, _ in told() if status is Status.WARNING]
    assert [line.partition(", installed")[0] for line in lines] == [
        "requirements.txt asks for gunicorn<1",
        "requirements.txt asks for not-there-at-all==1, which is not installed",
        "pyproject.toml asks for click<1",
    ]
    assert all(mend.startswith("pip install '") for _, _, mend in told())


def test_what_fits_is_one_line(folder: Path) -> None:
    (folder / "requirements.txt").write_text("flask\nclick\n")
    assert told() == [(Status.OK, "all 2 installed as requirements.txt asks", "")]


def test_an_installed_app_is_asked_for_its_metadata() -> None:
    assert flask.__name__ == "flask"
    ((status, message, _),) = told("flask:Flask")
    assert (status, message.endswith("installed as Flask asks")) == (Status.OK, True)


def test_an_app_that_asks_for_nothing_is_no_line() -> None:
    assert told() == []
