from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
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
    app = Flask("shop")
    app.secret_key = "k"

    @app.route("/item/<int:number>")
    def item(number: int) -> str:
        session["user_id"] = 42
        logging.getLogger("shop").warning("item %d is\nnearly sold", number)
        return "ok"

    return app


def written(log_format: LogFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What one legacy request writes: its own line, and the access record."""
    module = ModuleType("logging_shop")
    module.app = shop()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "logging_shop", module)
    settings = Settings.load(legacy="logging_shop:app", log_format=log_format, log_user="user_id", data=tmp_path)
    legacy = LegacySide(settings)
    configuration = logs.configuration(settings, legacy.log_fields)
    output = io.StringIO()
    configuration["handlers"]["stderr"]["stream"] = output
    configuration["loggers"] |= {"shop": configuration["root"], "graft": configuration["root"]}
    del configuration["root"]
    logging.config.dictConfig(configuration)
    app = Starlette(
        routes=[Mount("", app=legacy.mount)],
        middleware=[Middleware(FrontDoor, legacy=legacy.mount, user_of=legacy.user_of)],
    )
    TestClient(app).get("/item/7", headers={"x-request-id": "r-7"})
    for name in ("shop", "graft"):
        logging.getLogger(name).handlers.clear()
    legacy.mount.close()
    return output.getvalue()


def test_both_sides_tell_id_user_route_and_side_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.loads(line) for line in written(LogFormat.JSON, tmp_path, monkeypatch).splitlines()]
    by_logger: dict[str, dict[str, Any]] = {line["logger"]: line for line in lines}
    for logger in ("shop", "graft.access"):
        told = by_logger[logger]
        assert (told["request_id"], told["user"], told["side"]) == ("r-7", "42", "legacy")
        assert told["route"] == "GET /item/{number:int}"
        assert "tag" not in told
    assert by_logger["shop"]["message"] == "item 7 is\nnearly sold"
    assert by_logger["graft.access"]["duration_ms"] > 0


def test_a_console_line_bears_id_and_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "WARNING [r-7 user=42] shop: item 7" in written(LogFormat.CONSOLE, tmp_path, monkeypatch)


def test_outside_a_request_there_is_no_id(tmp_path: Path) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "hello", (), None)
    logs.RequestIdFilter(lambda: {}).filter(record)
    assert vars(record)["request_id"] == vars(record)["tag"] == "-"
