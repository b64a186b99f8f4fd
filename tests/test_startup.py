"""startup.sh: from a fresh clone to a server, again and again, and what it says when it can't."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.parts.gateway import PROJECT

OPTION = re.compile(r"^(?:echo )? {2}(?:-h, )?(--[a-z]+)", re.MULTILINE)
TOLD = (
    "import pathlib, sys\nwith pathlib.Path('told').open('a') as told:\n    print({name!r}, *sys.argv[1:], file=told)\n"
)


def start(folder: Path, *options: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [folder / "startup.sh", *options],
        cwd=cwd or folder,
        env={**kept, "PYTHON": sys.executable, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(folder: Path) -> list[str]:
    """What startup.sh called since the last time, one line each."""
    file = folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def _fill(folder: Path) -> Path:
    """A project that needs no network: no requirements, and programs that only note how they were called."""
    folder.mkdir(parents=True)
    shutil.copy(PROJECT / "startup.sh", folder)
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'none'\nbackend-path = ['.']\n"
    )
    (folder / "gateway.py").write_text(TOLD.format(name="gateway"))
    (folder / "flask.py").write_text(TOLD.format(name="flask"))
    (folder / "graft.py").write_text(TOLD.format(name="graft") + "print('  index  builds')\n")
    (folder / "legacy_flask").mkdir()
    (folder / "var").mkdir()
    return folder


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a project, set up from another folder, with spaces on the way to it."""
    folder = _fill(tmp_path_factory.mktemp("startup") / "my own project")
    ended = start(folder, "--setup", cwd=folder.parent)
    assert ended.returncode == 0, ended.stderr
    assert "Making .venv" in ended.stderr
    assert "Ready" in ended.stderr
    assert told(folder) == ["flask --app legacy_flask build-catalogue", "graft --help", "graft --gateway . index"]
    return folder


@pytest.fixture
def project(ready: Path) -> Path:
    """The same, as good as new whatever the test before did to it."""
    assert start(ready, "--setup").returncode == 0
    told(ready)
    return ready


def test_the_next_start_is_quick_and_does_nothing_twice(project: Path) -> None:
    begun = time.monotonic()
    ended = start(project)
    assert time.monotonic() - begun < 3  # a third of it on an idle machine
    assert (ended.returncode, ended.stderr) == (0, "")
    assert told(project) == ["gateway --called-as ./startup.sh"]


def test_options_reach_the_gateway(project: Path) -> None:
    assert start(project, "--prod", "--port", "8123", "--host=::1").returncode == 0
    assert told(project) == ["gateway --called-as ./startup.sh --prod --host=::1 --prod --port 8123 --host ::1"]
    assert start(project, "--dev").returncode == 0
    assert told(project) == ["gateway --called-as ./startup.sh --dev --reload"]


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_another_flask_app_needs_no_catalogue(where: str, project: Path) -> None:
    (project / ".venv" / ".prepared").unlink(missing_ok=True)
    if where == ".env":
        (project / ".env").write_text("export GRAFT_LEGACY='shop:app'\n")
    try:
        ended = start(project, "--setup", **({"GRAFT_LEGACY": "shop:app"} if where == "environment" else {}))
    finally:
        (project / ".env").unlink(missing_ok=True)
    assert ended.returncode == 0
    assert told(project) == []


def test_a_changed_list_is_installed_again(project: Path) -> None:
    (project / "requirements.txt").write_text("# still nothing\n")
    assert "Installing requirements.txt" in start(project, "--setup").stderr


def test_a_failed_install_says_so_and_is_tried_again(project: Path) -> None:
    wanted = (project / "requirements.txt").read_text()
    (project / "requirements.txt").write_text("./not-there\n")
    try:
        first, second = start(project, "--setup"), start(project, "--setup")
    finally:
        (project / "requirements.txt").write_text(wanted)
    for ended in (first, second):
        assert ended.returncode == 2
        assert "error: pip could not install requirements.txt" in ended.stderr


def test_a_half_made_environment_is_repaired(tmp_path: Path) -> None:
    folder = _fill(tmp_path / "project")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to("/gone/python3")
    ended = start(folder, "--setup")
    assert ended.returncode == 0, ended.stderr
    assert "Making .venv" in ended.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speed"], "no option '--speed'"),
        (["serve"], "no option 'serve'"),
        (["--port", "http"], "--port takes a number"),
        (["--port"], "--port takes a number"),
        (["--port=70000"], "--port takes a number"),
        (["--host"], "--host takes an address"),
        (["--dev", "--prod"], "exclude each other"),
    ],
)
def test_a_wrong_option_is_named_and_exits_with_2(options: list[str], said: str, tmp_path: Path) -> None:
    ended = start(_fill(tmp_path / "project"), *options)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert not (tmp_path / "project" / ".venv").exists()


def _python(folder: Path, script: str) -> str:
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    ended = start(_fill(tmp_path / "project"), PYTHON=_python(tmp_path, "exit 1"))
    assert ended.returncode == 2
    assert "is not a Python 3.11 or newer" in ended.stderr


def test_a_python_without_venv_names_the_debian_package(tmp_path: Path) -> None:
    script = 'case "$*" in *venv*|*ensurepip*) exit 1 ;; *--version*) echo Python 3.11 ;; esac'
    ended = start(_fill(tmp_path / "project"), PYTHON=_python(tmp_path, script))
    assert ended.returncode == 2
    assert "apt-get install python3-venv" in ended.stderr


def test_no_python_at_all_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))
    ended = start(_fill(tmp_path / "project"), PATH=str(tools), PYTHON="")
    assert ended.returncode == 2
    assert "apt-get install python3 python3-venv" in ended.stderr


def test_help_teaches_every_option_and_windows_has_the_same(tmp_path: Path) -> None:
    ended = start(_fill(tmp_path / "project"), "--help")
    windows = (PROJECT / "startup.bat").read_bytes()
    assert ended.returncode == 0
    assert OPTION.findall(ended.stdout) == ["--dev", "--prod", "--setup", "--test", "--port", "--host", "--help"]
    assert OPTION.findall(windows.decode("ascii").replace("\r\n", "\n")) == OPTION.findall(ended.stdout)
    assert windows.count(b"\r\n") == windows.count(b"\n")


def test_both_scripts_run_the_same_checks() -> None:
    unix, windows = (PROJECT / "startup.sh").read_text(), (PROJECT / "startup.bat").read_text()
    for check in ("check .", "format --check .", "mypy", "-m pytest -n 3 --dist loadgroup --cov --cov-branch"):
        assert check in unix
        assert check in windows
