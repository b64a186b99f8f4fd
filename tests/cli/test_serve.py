"""The decisions of ``python gateway.py``, up to the moment where it becomes the server."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from graft.cli import plain, serve
from graft.errors import SettingError
from graft.figures import folders
from graft.settings import Settings

PROBLEM = SettingError("GRAFT_LEGACY", "nothing there", "Name an app.")


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "WEB_CONCURRENCY", folders.HANDED_OVER, "SERVER_SOFTWARE"):
        monkeypatch.setenv(name, "")  # so that it is put back after the test
        monkeypatch.delenv(name)
    program = type(sys)("__main__")
    program.__file__ = str(tmp_path / "gateway.py")
    monkeypatch.setitem(sys.modules, "__main__", program)


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.setattr(serve, "_become", commands.append)
    return commands


def _serve(*options: str) -> Result:
    return CliRunner().invoke(serve.main, options)


def test_it_becomes_gunicorn_with_one_worker(became: list[list[str]]) -> None:
    assert _serve("--port", "0").exit_code == 0
    assert became[0][1:4] == ["-m", "gunicorn", "gateway:app"]
    assert became[0][-4:] == ["--bind", "127.0.0.1:0", "--workers", "1"]
    assert not {"HOST", "PORT"} & os.environ.keys()  # they are the app's


def test_the_environment_says_how_many_workers(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    _serve("--port", "0")
    _serve("--port", "0", "--workers", "4")
    assert [command[-1] for command in became] == ["3", "4"]


def test_prod_takes_a_worker_for_each_core(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.servers, "default_workers", lambda: 7)
    _serve("--port", "0", "--prod")
    assert became[0][-1] == "7"


def test_prod_without_gunicorn_is_refused(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn", None)  # type: ignore[arg-type]
    ended = _serve("--port", "0", "--prod")
    assert (ended.exit_code, became) == (2, [])
    assert "pip install gunicorn" in ended.output


def test_uvicorns_workers_count_together(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn", None)  # type: ignore[arg-type]
    _serve("--port", "0", "--workers", "2")
    assert Path(os.environ[folders.HANDED_OVER]).is_dir()


@pytest.mark.parametrize("other", [["--prod"], ["--workers", "2"]])
def test_reload_is_for_development_only(other: list[str], became: list[list[str]]) -> None:
    ended = _serve("--reload", *other)
    assert (ended.exit_code, became) == (2, [])
    assert "--reload is for development" in ended.output


def test_a_wrong_setting_is_one_line(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    ended = _serve()
    assert (ended.exit_code, became) == (2, [])
    assert ended.output.startswith("error: PORT: found 'http'.")


@pytest.mark.parametrize(
    ("called_as", "again"),
    [
        ("./startup.sh --prod --port 1", "./startup.sh --prod --port "),
        ("./startup.sh --port=1 --dev", "./startup.sh --dev --port "),
    ],
)
def test_a_held_port_gives_the_whole_command_for_a_free_one(
    called_as: str, again: str, became: list[list[str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        ended = _serve("--port", str(held.getsockname()[1]), "--called-as", called_as)
    assert (ended.exit_code, became) == (2, [])
    assert f"Start there with: {again}" in ended.output


def test_a_held_port_with_none_free_is_one_line(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.ports, "next_free", lambda host, port: None)
    with socket.create_server(("127.0.0.1", 0)) as held:
        ended = _serve("--port", str(held.getsockname()[1]))
    assert ended.exit_code == 2
    assert "name another port" in ended.output


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_on_a_terminal_it_asks(
    answer: str, code: int, became: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr(serve, "_on_a_terminal", lambda: True)
    monkeypatch.setattr(serve.click, "confirm", confirm)
    with socket.create_server(("127.0.0.1", 0)) as held:
        ended = _serve("--port", str(held.getsockname()[1]))
    assert ended.exit_code == code
    assert len(became) == (answer == "y")
    assert "instead?" in asked[0]


def _guarded(name: str) -> None:
    with serve.guard(name):
        raise PROBLEM


@pytest.mark.parametrize("name", ["__main__", "__config__"])
def test_a_problem_in_the_program_itself_is_one_line_and_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _guarded(name)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: {PROBLEM}\n"


def test_a_problem_in_an_import_is_raised_on() -> None:
    with pytest.raises(SettingError):
        _guarded("gateway")


def test_a_problem_under_gunicorn_ends_the_arbiter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", sys)
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/27.0.1")
    with pytest.raises(SystemExit) as stopped:
        _guarded("gateway")
    assert stopped.value.code == 4


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (["gateway:app", "--port", "9000"], ("127.0.0.1", "9000")),
        (["--host=::1", "gateway:app"], ("::1", "8000")),
        (["gateway:app", "--uds", "x.sock"], ("example", "1")),
        (["gateway:app", "--port", "many"], ("example", "1")),
    ],
)
def test_uvicorns_own_options_say_where_the_gateway_is(
    options: list[str], address: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/uvicorn", *options])
    monkeypatch.setenv("HOST", "example")
    monkeypatch.setenv("PORT", "1")
    with serve.guard("gateway"):
        settings = Settings.load()
    assert (settings.host, str(settings.port)) == address
    assert (os.environ["HOST"], os.environ["PORT"]) == ("example", "1")  # they are the app's


@pytest.mark.parametrize("program", ["/venv/bin/uvicorn", "/lib/uvicorn/__main__.py", "C:\\Scripts\\uvicorn.exe"])
def test_a_problem_under_uvicorn_ends_the_supervisor(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program.replace("\\", "/")])
    with pytest.raises(SystemExit) as stopped:
        _guarded("gateway")
    assert stopped.value.code == 3


def test_the_program_works_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with serve.guard("__main__"):
        assert Path.cwd() == tmp_path
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with serve.guard("__main__"):  # typed into a shell: there is no folder
        assert Path.cwd() == tmp_path / "elsewhere"


def test_on_posix_the_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *words: called.append(words))
    monkeypatch.setattr(sys, "exit", called.append)
    monkeypatch.setattr(serve.subprocess, "call", lambda command: 5)
    serve._become(["python", "-m", "gunicorn"])
    assert called[0] == ("python", ["python", "-m", "gunicorn"])


@pytest.mark.parametrize("code", [5, None])
def test_elsewhere_it_waits_for_the_child(code: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(command: list[str]) -> int:
        if code is None:
            raise KeyboardInterrupt
        return code

    monkeypatch.setattr(serve, "CAN_EXEC", False)
    monkeypatch.setattr(serve.subprocess, "call", call)
    with pytest.raises(SystemExit) as stopped:
        serve._become(["python"])
    assert stopped.value.code == (code or 0)


def test_the_flask_app_alone_is_served_by_werkzeug(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(plain, "run_simple", lambda *arguments, **_: served.append(arguments))
    monkeypatch.setattr(plain, "load", lambda target: target)
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    plain.main()
    assert served == [("127.0.0.1", 8000, "shop:app")]


def test_the_flask_app_alone_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAFT_LEGACY", "no_such_module:app")
    with pytest.raises(SystemExit) as stopped:
        plain.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: GRAFT_LEGACY")


def test_a_terminal_is_one_on_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not serve._on_a_terminal()
