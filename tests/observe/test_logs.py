from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, Response, request, session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from graft.bridge.exchange import BrokenAnswer
from graft.flaskside.side import LegacySide
from graft.observe import logs, paths
from graft.routing.frontdoor import FrontDoor
from graft.settings import LogFormat, LogPaths, Settings


def shop() -> Flask:
    app = Flask("the shop")
    app.secret_key = "k"

    @app.route("/item/<int:number>")
    def item(number: int) -> str:
        session["user_id"] = 42
        logging.getLogger("shop").warning("item %d is\nnearly sold", number)
        app.logger.error("through Flask's own handler")
        return "ok"

    return app


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger as an app finds it that has set up nothing; pytest's handlers on it, put there for the call of
    each test, would be something."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        yield root
    finally:
        root.handlers = handlers
        root.setLevel(level)


def written(
    log_format: LogFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What one legacy request writes: its own lines, and the access record."""
    module = ModuleType("logging_shop")
    module.app = shop()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "logging_shop", module)
    settings = Settings.load(legacy="logging_shop:app", log_format=log_format, log_user="user_id", data=tmp_path)
    legacy = LegacySide(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        logs.configure(settings, legacy.log_fields)
        async with legacy.running():
            yield

    app = Starlette(
        routes=[Mount("", app=legacy.mount)],
        middleware=[Middleware(FrontDoor, legacy=legacy.mount, user_of=legacy.user_of)],
        lifespan=lifespan,
    )
    with bare_root(), TestClient(app) as client:
        client.get("/item/7", headers={"x-request-id": "r-7"})
    return capsys.readouterr().err


def test_both_sides_tell_id_user_route_and_side_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in written(LogFormat.JSON, tmp_path, monkeypatch, capsys).splitlines()]
    by_logger: dict[str, dict[str, Any]] = {line["logger"]: line for line in lines}
    for logger in ("shop", "the shop", "graft.access"):
        told = by_logger[logger]
        assert (told["request_id"], told["user"], told["side"]) == ("r-7", "42", "legacy")
        assert told["route"] == "GET /item/{number:int}"
        assert "tag" not in told
    assert by_logger["shop"]["message"] == "item 7 is\nnearly sold"
    assert by_logger["graft.access"]["duration_ms"] > 0


def test_a_console_line_bears_id_and_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "WARNING [r-7 user=42] shop: item 7" in written(LogFormat.CONSOLE, tmp_path, monkeypatch, capsys)


def test_the_root_loggers_handlers_and_level_stay_and_get_nothing_of_grafts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_root() as root:
        logging.basicConfig(filename=tmp_path / "app.log", level=logging.DEBUG)
        (handler,) = root.handlers
        logs.configure(Settings.load())
        for name in ("graft.access", "uvicorn.error", "gunicorn.error", "shop"):
            logging.getLogger(name).warning("from %s", name)
        assert (root.handlers, root.level) == ([handler], logging.DEBUG)
        handler.close()
    assert (tmp_path / "app.log").read_text() == "WARNING:shop:from shop\n"
    assert [line.rpartition("from ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "graft.access",
        "uvicorn.error",
        "gunicorn.error",
    ]


def test_a_logger_with_a_level_of_its_own_prints_no_more_than_log_level_lets_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("shop.stock", "graft.stock"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
        with bare_root():
            logs.configure(Settings.load(log_level="warning"))
            logging.getLogger(name).debug("counted")
            logging.getLogger(name).warning("empty")
    assert "counted" not in (err := capsys.readouterr().err)
    assert err.count("empty") == 2


def test_loggers_that_the_app_disabled_by_not_naming_them_speak_again(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("graft.access").disabled = logging.getLogger("uvicorn.error").disabled = True
    logs.configure(Settings.load())
    for name in ("graft.access", "uvicorn.error"):
        logging.getLogger(name).warning("from %s", name)
    assert capsys.readouterr().err.count("from ") == 2


def test_an_app_that_took_over_gunicorns_handlers_has_grafts(capsys: pytest.CaptureFixture[str]) -> None:
    """``app.logger.handlers = logging.getLogger("gunicorn.error").handlers`` is in many a Flask app."""
    shop = logging.getLogger("shop.of_gunicorn")
    shop.handlers = logging.getLogger("gunicorn.error").handlers
    shop.propagate = False
    logs.configure(Settings.load())
    shop.warning("sold")
    assert "[-] shop.of_gunicorn: sold" in capsys.readouterr().err
    shop.handlers = []


def test_gunicorns_configuration_leaves_the_root_logger_alone() -> None:
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

    config = Config()
    config.set("logconfig_dict", logs.configuration(Settings.load()))
    with bare_root() as root:
        Logger(config)
        assert (root.handlers, root.level) == ([], logging.WARNING)
    assert [type(each) for each in logging.getLogger("gunicorn.error").handlers] == [logs.ServerHandler]


def test_outside_a_request_there_is_no_id(tmp_path: Path) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "hello", (), None)
    logs.RequestIdFilter(lambda: {}).filter(record)
    assert vars(record)["request_id"] == vars(record)["tag"] == "-"


FORGED = "x\n2026-01-01 00:00:00,000 INFO    [r-1] graft: forged\x1b[31m\r\x9b2J\u202e\u2028end"


def console(**options: Any) -> tuple[logging.Logger, io.StringIO]:
    """A logger with the gateway's console handler."""
    handler = logs._handler(Settings.load(log_format=LogFormat.CONSOLE, **options), None)
    handler.setStream(output := io.StringIO())
    log = logging.getLogger("forging")
    log.handlers[:] = [handler]
    log.propagate = False
    return log, output


def lines_of(output: io.StringIO) -> list[str]:
    text = output.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text)
    return text.splitlines()


def test_a_message_is_one_line_and_steers_no_terminal() -> None:
    log, output = console()
    log.error("Exception on %s [GET]", FORGED)
    (line,) = lines_of(output)
    assert r"Exception on x\n2026-01-01" in line
    assert r"\x1b[31m\r\x9b2J\u202e\u2028end [GET]" in line


def test_texts_of_exceptions_begin_no_line() -> None:
    log, output = console()
    try:
        try:
            raise ValueError(FORGED)
        except ValueError as cause:
            cause.add_note(FORGED)
            raise ExceptionGroup(FORGED, [KeyError(FORGED), RuntimeError(FORGED)]) from cause
    except ExceptionGroup:
        log.exception("failed")
    lines = lines_of(output)
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert sum("forged" in line for line in lines) == 5
    assert any(line.startswith("Traceback (most recent call last):") for line in lines)
    assert any("The above exception was the direct cause" in line for line in lines)


def test_what_other_handlers_share_stays_as_it_was() -> None:
    log, output = console()
    theirs = io.StringIO()
    own = logging.StreamHandler(theirs)
    log.handlers.insert(0, own)
    log.addHandler(last := logging.StreamHandler(io.StringIO()))
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        log.exception("a\nb")
    assert "a\nb\nTraceback" in theirs.getvalue()
    assert "ValueError: one\ntwo" in theirs.getvalue()
    assert last.stream.getvalue() == theirs.getvalue()
    assert lines_of(output)[-1] == r"ValueError: one\ntwo"


def test_tracebacks_of_a_queue_and_stacks_are_set_apart() -> None:
    log, output = console()
    record = log.makeRecord("forging", logging.ERROR, "f", 1, "queued", (), None)
    record.exc_text = f"Traceback\nValueError: {FORGED}"
    log.handle(record)
    log.warning("here", stack_info=True)
    lines = lines_of(output)
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert any(line.startswith("Stack (most recent call last):") for line in lines)


def test_the_traceback_is_pythons_own_where_nothing_is_to_be_escaped() -> None:
    log, output = console()
    try:
        try:
            compile("a b", "f.py", "exec")
        except SyntaxError as error:
            raise KeyError("é") from error
    except KeyError as error:
        log.exception("failed")
        expected = "".join(traceback.format_exception(error))
    assert output.getvalue().partition("\n")[2] == expected


SECRET = "k3x-9f/ä b"


def app_with_tokens(tmp_path: Path, module: ModuleType) -> LegacySide:
    app = Flask("tokens")
    app.secret_key = "k"

    @app.get("/reset/<path:token>")
    def reset(token: str) -> str:
        raise RuntimeError(f"no such token in {request.path}")

    @app.get("/cut/<path:token>")
    def cut(token: str) -> Response:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise RuntimeError("half-way")

        return Response(parts())

    @app.get("/slow/<path:token>")
    def slow(token: str) -> str:
        time.sleep(0.4)
        return "late"

    module.app = app  # type: ignore[attr-defined]
    return LegacySide(Settings.load(legacy=f"{module.__name__}:app", legacy_timeout=0.1, data=tmp_path))


async def native_failure(request: StarletteRequest) -> None:
    raise RuntimeError(f"{request.url.path} is not good")


@pytest.mark.parametrize("log_format", list(LogFormat))
@pytest.mark.parametrize("log_paths", list(LogPaths))
def test_log_lines_tell_the_path_or_the_route(
    log_format: LogFormat, log_paths: LogPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("token_shop")
    monkeypatch.setitem(sys.modules, "token_shop", module)
    legacy = app_with_tokens(tmp_path, module)
    settings = Settings.load(log_format=log_format, log_paths=log_paths)
    output, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    paths.choose(log_paths)
    handler = logs._handler(settings, legacy.log_fields)
    handler.setStream(output)
    handler.addFilter(lambda record: not record.name.startswith("httpx"))
    root.handlers, root.level = [handler], logging.INFO
    app = Starlette(
        routes=[Route("/native/{token:path}", native_failure), Mount("", app=legacy.mount)],
        middleware=[Middleware(FrontDoor, legacy=legacy.mount)],
    )
    client = TestClient(app, raise_server_exceptions=False)
    try:
        for path in ("reset", "slow", "native", "nowhere"):
            client.get(f"/{path}/{SECRET}")
        with suppress(BrokenAnswer):
            TestClient(app).get(f"/cut/{SECRET}")
        legacy.mount.close()
    finally:
        root.handlers, root.level = before
        paths.choose(LogPaths.FULL)
    text = output.getvalue()
    assert "gave no answer within" in text
    assert "Exception on" in text
    assert "failed" in text
    if log_paths is LogPaths.FULL:
        assert text.count("k3x-9f") > 8
        return
    assert [line for line in text.splitlines() if "k3x" in line] == []
    for shown in (
        "GET /reset/{token:path} 500",
        "GET /slow/{token:path} 504",
        "GET /slow/{token:path} (slow) gave no answer",
        "GET /native/{token:path} 500",
        "GET /native/{token:path} failed",
        "GET (no route) 404",
        "Exception on /reset/{token:path} [GET]",
        "GET /cut/{token:path} failed after its body began",
        "no such token in /reset/{token:path}",
    ):
        assert shown in text, f"{shown} in {text}"
    if log_format is LogFormat.JSON:
        accesses = [json.loads(line) for line in text.splitlines() if '"graft.access"' in line]
        assert {line["path"] for line in accesses} >= {"/reset/{token:path}", "(no route)"}
