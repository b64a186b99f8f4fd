"""A reload (a bare HUP) onto code or settings that can't be loaded: the workers of before serve on, with one line."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import httpx2 as httpx
import pytest
from gunicorn.arbiter import Arbiter

from graft import gunicorn_private as private
from graft.gunicorn_trial import Trial, reason_of
from tests.cli.project import APP, ROUTES, Project
from tests.parts import wait_until
from tests.parts.gateway import PROJECT, Gateway, serving

REFUSED = re.compile(r"Nothing is reloaded, the workers of before serve on: (.*)")
LATER = APP.replace('return "about"', 'return "later"  # of another length: Python goes by second and size')


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "shop").mkdir()
    project = Project(tmp_path / "shop")
    project.write("shop.py", APP)
    project.write("async_routes/__init__.py", ROUTES)
    project.write(".env", "GRAFT_LEGACY=shop:app\nWEB_CONCURRENCY=1\n")
    for file in ("gateway.py", "gunicorn.conf.py"):
        shutil.copy(PROJECT / file, project.folder)
    return project


def workers(gateway: Gateway) -> set[int]:
    return {child.pid for child in gateway.family() if child.pid != gateway.pid and child.is_running()}


def refusals(gateway: Gateway) -> list[str]:
    return REFUSED.findall(gateway.log)


def about(gateway: Gateway) -> str:
    return httpx.get(f"{gateway.base_url}/about", timeout=30).text


def refused(gateway: Gateway, number: int) -> str:
    """Send HUP, and wait for the line about it."""
    os.kill(gateway.pid, signal.SIGHUP)
    wait_until(lambda: len(refusals(gateway)) == number, 30, "the line")
    assert about(gateway) == "about"
    return refusals(gateway)[-1]


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_what_cant_be_loaded_is_one_line_and_the_workers_serve_on(
    preload: bool, project: Project, tmp_path: Path
) -> None:
    conf = (project.folder / "gunicorn.conf.py").read_text()
    conf = project.write("gunicorn.conf.py", conf + f"\npreload_app = {preload}\n").read_text()
    gateway_py, env = (project.folder / "gateway.py").read_text(), (project.folder / ".env").read_text()
    broken: list[tuple[str, str, str]] = [
        ("gunicorn.conf.py", conf + "\n1 / 0\n", "ZeroDivisionError: division by zero (gunicorn.conf.py:"),
        (".env", env + "GRAFT_LEGACY_THREADS=many\n", "" if preload else "GRAFT_LEGACY_THREADS: found 'many'."),
        (".env", env + "WEB_CONCURRENCY=none\n", "WEB_CONCURRENCY: found 'none'."),
    ]
    if not preload:  # with it a reload takes no new code at all
        broken += [
            ("shop.py", "import nothing_of_that_name\n", "nothing_of_that_name"),
            ("shop.py", "def broken(:\n", "(shop.py, line 1)"),
            ("shop.py", dedent(APP) + "\nraise SystemExit(3)\n", "SystemExit"),
            ("async_routes/__init__.py", dedent(ROUTES) + "\nundefined_name\n", "undefined_name"),
            ("gateway.py", f"{gateway_py}\n{{}}['missing']\n", "KeyError: 'missing' (gateway.py:"),
            ("gateway.py", "def broken(:\n", "SyntaxError: invalid syntax (gateway.py:1)"),
        ]
    with serving("gunicorn", folder=project.folder, log=tmp_path / "log", ready="/about") as gateway:
        before = workers(gateway)
        number = 0
        for name, text, reason in broken:
            if not reason:
                continue
            number += 1
            sound = (project.folder / name).read_text()
            project.write(name, text)
            assert reason in refused(gateway, number)
            (project.folder / name).write_text(sound)
        assert workers(gateway) == before
        assert "Traceback" not in gateway.log
        project.write("shop.py", LATER)
        os.kill(gateway.pid, signal.SIGHUP)
        if preload:
            gateway.wait_for(r"Handling signal: hup(?s:.*)Handling signal: hup(?s:.*)Hang up(?s:.*)Booting worker")
        else:
            wait_until(lambda: about(gateway) == "later", 30, "the new code")
        assert len(refusals(gateway)) == number


def test_code_that_never_comes_to_an_end_is_given_up(project: Project, tmp_path: Path) -> None:
    with serving("gunicorn", "--timeout", "4", folder=project.folder, log=tmp_path / "log", ready="/about") as gateway:
        project.write("shop.py", "import time\ntime.sleep(1000)\n")
        assert refused(gateway, 1) == "it took more than 4 s"
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.wait_for(r"(?s:.*)Handling signal: hup(?s:.*)Handling signal: hup")
        # A stop does not wait for it, nor does it stay behind.


def test_later_code_is_tried_where_a_trial_still_goes_on(project: Project, tmp_path: Path) -> None:
    with serving("gunicorn", folder=project.folder, log=tmp_path / "log", ready="/about") as gateway:
        project.write("shop.py", f"open({str(tmp_path / 'begun')!r}, 'w')\nimport time\ntime.sleep(1000)\n")
        os.kill(gateway.pid, signal.SIGHUP)
        wait_until((tmp_path / "begun").exists, 30, "the trial")
        project.write("shop.py", LATER)
        os.kill(gateway.pid, signal.SIGHUP)
        wait_until(lambda: about(gateway) == "later", 30, "the new code")
        assert refusals(gateway) == []


def test_a_trial_counts_nowhere(project: Project, tmp_path: Path) -> None:
    with serving("gunicorn", folder=project.folder, log=tmp_path / "log", ready="/about") as gateway:
        project.write("shop.py", "1 / 0\n")
        refused(gateway, 1)
        [folder] = (tmp_path / "var" / "metrics").iterdir()
        assert {int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")} <= workers(gateway)


def test_a_part_that_a_gunicorn_has_not_is_named_and_the_installed_one_has_all() -> None:
    installed = Arbiter.__new__(Arbiter)
    installed.app = object()  # type: ignore[attr-defined]
    assert private.missing(installed, private.RELOADING) is None
    for name in private.RELOADING:
        parts = {each: None for each in private.RELOADING if each != name}
        assert private.missing(SimpleNamespace(**parts), private.RELOADING) == name


def outcome(load: Callable[[], object], seconds: float = 30) -> str:
    trial = Trial(load, (), seconds)
    found: list[str | None] = [None]

    def ended() -> bool:
        found[0] = trial.outcome()
        return found[0] is not None

    wait_until(ended, 30, "the outcome")
    assert found[0] is not None
    return found[0]


def test_the_outcome_is_empty_where_all_is_well_and_the_reason_else() -> None:
    assert outcome(lambda: None) == ""
    assert outcome(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "the process that tried it was killed"
    assert outcome(signal.pause, 0.2) == "it took more than 0.2 s"
    assert outcome(lambda: print("x" * 100_000)) == ""
    assert outcome(lambda: int("x" * 5000)).startswith("ValueError: invalid literal")


def test_a_reason_is_one_line_of_what_was_told_before_the_exit() -> None:
    def ends() -> None:
        try:
            raise ValueError("the\nfirst line\nis not all")
        except ValueError:
            raise SystemExit(1) from None

    with pytest.raises(SystemExit) as ended:
        ends()
    line = ends.__code__.co_firstlineno + 2
    assert reason_of(ended.value).endswith(f"({Path(__file__).relative_to(Path.cwd())}:{line})")
