from __future__ import annotations

import logging

import pytest
from flask import Flask, abort
from werkzeug.exceptions import HTTPException

from tests.legacy_flask.portal import Browser


def test_a_missing_page_is_a_page(browser: Browser) -> None:
    answer = browser.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Nothing here" in answer.text


@pytest.mark.parametrize(
    ("path", "accept"), [("/api/nowhere", "text/html"), ("/nowhere", "application/json"), ("/api/nowhere", "*/*")]
)
def test_programs_get_json(browser: Browser, path: str, accept: str) -> None:
    answer = browser.get(path, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.get_json() == {"error": {"code": "not_found", "message": "There is no page at this address."}}


def test_a_wrong_method_says_which_are_right(browser: Browser) -> None:
    answer = browser.client.put("/api/articles")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert answer.get_json()["error"]["code"] == "method_not_allowed"


def test_a_crash_is_a_page_without_its_reasons(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/crash", view_func=lambda: 1 // 0)
    app.add_url_rule("/api/crash", view_func=lambda: 1 // 0, endpoint="api_crash")
    with caplog.at_level(logging.CRITICAL):
        page = Browser(app).get("/crash")
        answer = Browser(app).get("/api/crash")
    assert page.status_code == answer.status_code == 500
    assert "Our mistake" in page.text
    assert "division" not in page.text + answer.text
    assert answer.get_json()["error"]["code"] == "internal_server_error"


@pytest.mark.parametrize("status", [403, 409, 418, 429, 503])
def test_every_status_has_a_page(app: Flask, status: int) -> None:
    app.add_url_rule("/refused", view_func=lambda: abort(status))
    page = Browser(app).get("/refused")
    assert page.status_code == status
    assert "To the home page" in page.text


def test_a_status_that_nobody_knows_has_a_page_too(app: Flask) -> None:
    class Odd(HTTPException):
        code = 499
        description = "Odd."

    def refuse() -> None:
        raise Odd

    app.add_url_rule("/refused", view_func=refuse)
    assert "Odd." in Browser(app).get("/refused").text


def test_an_exception_without_a_status_is_given_on(app: Flask) -> None:
    def refuse() -> None:
        raise HTTPException(response=app.response_class("as it is", 299))

    app.add_url_rule("/refused", view_func=refuse)
    assert Browser(app).get("/refused").text == "as it is"
