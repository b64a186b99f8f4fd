from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from graft.flaskside.side import LegacySide
from graft.observe import logs
from graft.routing.frontdoor import FrontDoor
from graft.settings import LogFormat, Settings


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
