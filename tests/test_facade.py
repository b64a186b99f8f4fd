"""``graft.gateway()`` and ``from graft.gunicorn import *``: the two files of a project that brings an app."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

import graft
from graft import gunicorn
from graft.cli import serve
from graft.errors import SettingError
from tests.cli.project import Project, project_in
from tests.parts.gateway import PROJECT, serving

TEMPLATES = PROJECT / "graft" / "cli" / "templates"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for project in project_in(tmp_path, monkeypatch):
        project.write(
            "shop.py", "from flask import Flask\napp = Flask(__name__)\napp.add_url_rule('/', view_func=str)\n"
        )
        project.write("async_routes/__init__.py", "")
        project.write("gateway.py", (TEMPLATES / "gateway.py.txt").read_text())
        project.write("gunicorn.conf.py", (TEMPLATES / "gunicorn.conf.py.txt").read_text())
        monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
        monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "token")
        yield project


def statements(source: Path, of_function: str | None = None) -> list[str]:
    """The statements that wire the gateway, from ``with guard`` on."""
    body = ast.parse(source.read_text()).body
    if of_function is not None:
        body = next(one.body for one in body if isinstance(one, ast.FunctionDef) and one.name == of_function)
    start = next(number for number, one in enumerate(body) if isinstance(one, ast.With))
    return [ast.unparse(one) for one in body[start:] if not isinstance(one, (ast.If, ast.Return))]


def test_the_facade_wires_what_gateway_py_spells_out() -> None:
    spelled_out = "\n".join(statements(PROJECT / "gateway.py"))
    for here, there in (("guard(__name__)", "guard(module)"), ("Settings.load()", "Settings.load(**overrides)")):
        assert here in spelled_out
        spelled_out = spelled_out.replace(here, there)
    assert "\n".join(statements(PROJECT / "graft" / "application.py", "build")) == spelled_out


def test_gateway_py_fits_on_one_screen() -> None:
    assert len((PROJECT / "gateway.py").read_text().splitlines()) < 60


def test_importing_graft_imports_none_of_its_machinery() -> None:
    script = "import sys, graft; sys.exit(any(name in sys.modules for name in ('starlette', 'flask', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_app_of_the_facade_serves_both_sides(project: Project) -> None:
    with TestClient(graft.gateway(legacy="shop:app")) as client:
        assert client.get("/_graft/health").json() == {"status": "ok"}
        answer = client.get("/")
        assert (answer.status_code, answer.headers["x-served-by"]) == (200, "legacy")


def test_a_setting_that_is_given_wins_and_one_that_is_none_is_refused(project: Project) -> None:
    with pytest.raises(SettingError, match="GRAFT_LEGACY=not_there:app"):
        graft.gateway(legacy="not_there:app")
    with pytest.raises(SettingError, match=r"legcy: there is no such setting\. Did you mean legacy\?"):
        graft.gateway(legcy="shop:app")


def run_as_program(project: Project, monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[list[list[str]], Any]:
    """What ``python gateway.py`` would become, and the names of the program if it goes on."""
    commands: list[list[str]] = []
    monkeypatch.setattr(serve, "_become", commands.append)
    monkeypatch.setattr(sys, "argv", ["gateway.py", "--port", "0"])
    project.write("gateway.py", text)
    names: Any = None
    with suppress(SystemExit):  # click ends the program once the server has "ended"
        names = runpy.run_path(str(project.folder / "gateway.py"), run_name="__main__")
    return commands, names


def test_the_program_serves(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    commands, _ = run_as_program(project, monkeypatch, "import graft\n\napp = graft.gateway(workers=3)\n")
    [command] = commands
    assert command[1:4] == ["-m", "gunicorn", "gateway:app"]
    assert command[-1] == "3"


@pytest.mark.parametrize(
    "text",
    [
        "import graft\n\napp = graft.gateway(serve=False)\n",
        "import graft\n\ndef make():\n    return graft.gateway()\n\napp = make()\n",
    ],
)
def test_the_program_goes_on_where_it_serves_by_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    commands, names = run_as_program(project, monkeypatch, text)
    assert commands == []
    assert names["app"].routes


# gunicorn.conf.py


def values(path: Path) -> dict[str, Any]:
    names = runpy.run_path(str(path), run_name="__config__")
    return {name: value for name, value in names.items() if name in gunicorn.__all__}


def test_one_line_and_the_spelled_out_file_say_the_same(project: Project) -> None:
    spelled_out = values(PROJECT / "gunicorn.conf.py")
    assert spelled_out.keys() == set(gunicorn.__all__)
    assert values(project.folder / "gunicorn.conf.py") == spelled_out


def test_gunicorn_knows_every_name() -> None:
    from gunicorn.config import Config

    assert set(gunicorn.__all__) <= set(Config().settings)


def test_the_file_that_is_read_again_takes_over_what_has_changed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = project.folder / "gunicorn.conf.py"
    before = values(conf)
    assert (before["bind"], before["loglevel"], before["graceful_timeout"]) == ("127.0.0.1:8000", "info", 30)
    project.write(".env", "WEB_CONCURRENCY=7\nPORT=9000\nHOST=::1\nLOG_LEVEL=trace\nGRACEFUL_TIMEOUT=0.2\n")
    after = values(conf)
    assert (after["workers"], after["bind"], after["loglevel"]) == (7, "[::1]:9000", "debug")
    assert after["graceful_timeout"] == 1


def test_a_wrong_setting_is_one_line_and_2(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    with pytest.raises(SystemExit) as ended:
        values(project.folder / "gunicorn.conf.py")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: WEB_CONCURRENCY: found 'many'.")


def test_what_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'threads'"):
        gunicorn.threads  # noqa: B018


@pytest.mark.parametrize("command", ["gunicorn", "uvicorn", "python"])
def test_the_two_line_project_is_served(project: Project, tmp_path: Path, command: str) -> None:
    with serving(
        command, folder=project.folder, log=tmp_path / "log", env={**os.environ, "WEB_CONCURRENCY": "1"}
    ) as gateway:
        answer = httpx.get(f"{gateway.base_url}/")
        assert (answer.status_code, answer.headers["x-served-by"]) == (200, "legacy")
        metrics = httpx.get(f"{gateway.base_url}/_graft/metrics", headers={"authorization": "Bearer token"})
        assert 'graft_requests_total{route="GET /",side="legacy"' in metrics.text
