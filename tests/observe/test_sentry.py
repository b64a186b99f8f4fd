"""Beside Sentry's SDK, or without it. What the real one sends is in tests/parity/test_sdks.py."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from graft.flaskside.side import LegacySide
from graft.observe.sentry import ReportedByTheApp, reported_once
from graft.settings import Settings

app = Flask(__name__)


@pytest.fixture
def side(tmp_path: Path) -> LegacySide:
    return LegacySide(Settings.load(legacy=f"{__name__}:app", data=tmp_path))


async def test_without_the_sdk_the_mount_calls_the_app_itself(side: LegacySide) -> None:
    assert "sentry_sdk" not in sys.modules, "Graft imports it by itself"
    async with side.running():
        assert (side.mount.app, side.mirror.app) == (app, app)


async def test_an_sdk_that_a_native_route_imports_is_seen_too(
    side: LegacySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors: list[Any] = []
    scope = SimpleNamespace(add_event_processor=processors.append)
    sdk: Any = SimpleNamespace(get_isolation_scope=lambda: scope, get_global_scope=lambda: scope)
    monkeypatch.setitem(sys.modules, "sentry_sdk", sdk)
    async with side.running():
        assert isinstance(side.mount.app, ReportedByTheApp)
        assert reported_once(side.mount.app) is side.mount.app


def test_an_sdk_of_the_line_before_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    old: Any = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "sentry_sdk", old)
    assert reported_once(app) is app
    assert "sentry-sdk before 2.0" in caplog.text


def test_only_grafts_own_lines_about_a_reported_exception_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    processors: list[Any] = []
    scope = SimpleNamespace(add_event_processor=processors.append)
    sdk: Any = SimpleNamespace(get_isolation_scope=lambda: scope, get_global_scope=lambda: scope)
    monkeypatch.setitem(sys.modules, "sentry_sdk", sdk)
    reported_once(app)
    once, _ = processors
    error = ValueError("broken")
    hint = {"exc_info": (ValueError, error, None)}
    first, ours, the_apps = (
        {"event_id": number, "logger": logger}
        for number, logger in enumerate(("graft", "graft.legacy", "grafting"), start=1)
    )
    assert once(first, hint) is first
    assert once(first, hint) is first, "the same event, where this is registered twice"
    assert once(ours, hint) is None
    assert once(the_apps, hint) is the_apps
    assert once(ours, {}) is ours
