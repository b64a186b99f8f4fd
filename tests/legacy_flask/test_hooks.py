from __future__ import annotations

import logging
import re

import pytest
from flask import Flask, g

from legacy_flask import hooks
from tests.legacy_flask.portal import Browser


def test_requests_are_counted(browser: Browser) -> None:
    def number() -> int:
        return int(re.findall(r"this is number (\d+)", browser.get("/about").text)[0])

    first = number()
    browser.get("/")
    assert number() == first + 2


def test_slow_requests_are_logged(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hooks, "SLOW_MILLISECONDS", -1.0)
    with caplog.at_level(logging.WARNING):
        browser.get("/about")
    assert "GET /about took" in caplog.text


def test_the_user_is_known_to_views(app: Flask) -> None:
    app.add_url_rule("/me", view_func=lambda: {"name": g.user["name"] if g.user else None})
    browser = Browser(app)
    assert browser.get("/me").get_json() == {"name": None}
    browser.register()
    assert browser.get("/me").get_json() == {"name": "marta"}
