from __future__ import annotations

import pytest

from tests.legacy_flask.portal import Browser, make_app


@pytest.mark.parametrize("path", ["/login", "/register", "/logout", "/bookmarks/7", "/bookmarks/7/delete", "/uploads"])
@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_a_form_without_the_token_of_the_session_is_refused(reader: Browser, path: str, token: str | None) -> None:
    reader.token()
    answer = reader.client.post(path, data={} if token is None else {"csrf_token": token})
    assert answer.status_code == 400
    assert "out of date" in answer.text


def test_a_token_of_another_session_is_refused(reader: Browser) -> None:
    other = Browser(reader.client.application)
    assert reader.client.post("/logout", data={"csrf_token": other.token()}).status_code == 400


def test_the_token_may_come_in_a_header(reader: Browser) -> None:
    assert reader.client.post("/logout", headers={"X-CSRF-Token": reader.token()}).status_code == 302


def test_a_page_without_forms_sets_no_cookie(browser: Browser) -> None:
    answer = browser.get("/")
    assert "Set-Cookie" not in answer.headers
    assert "Cookie" in answer.headers["Vary"]


def test_an_address_that_is_none_is_a_404_also_for_a_post(browser: Browser) -> None:
    assert browser.client.post("/nowhere").status_code == 404
    assert browser.client.post("/about").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/articles", "/api/nowhere", "/export.csv", "/static/portal.css"]
)
def test_security_headers_are_on_every_answer(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Response-Time"].endswith("ms")


def test_pages_of_a_person_are_not_kept_by_caches(reader: Browser) -> None:
    assert reader.get("/").headers["Cache-Control"] == "private, no-cache"


def test_pages_use_nothing_that_the_policy_forbids(reader: Browser) -> None:
    for path in ("/", "/browse", "/articles/7", "/uploads", "/bookmarks", "/about"):
        page = reader.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert "<script>" not in page


def test_a_whole_session_of_clicks_works_with_a_key_of_its_own(data) -> None:  # type: ignore[no-untyped-def]
    app = make_app(data, SECRET_KEY="another")
    assert Browser(app).register().status_code == 302
