"""What happens around every request: who asks, how long it takes, how many came, and the headers on the way out."""

from __future__ import annotations

import itertools
import logging
import time

from flask import Flask, Response, current_app, g, request, session

from legacy_flask import accounts, database

log = logging.getLogger(__name__)

SLOW_MILLISECONDS = 1000.0
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def init_app(app: Flask) -> None:
    app.extensions["request_numbers"] = itertools.count(1)  # next() on it is atomic: threads share it
    app.before_request(start_clock)
    app.before_request(count_request)
    app.before_request(load_user)
    app.after_request(add_headers)
    app.after_request(add_response_time)
    app.teardown_request(log_slow_request)
    app.context_processor(template_values)


def start_clock() -> None:
    g.started = time.perf_counter()


def count_request() -> None:
    g.request_number = next(current_app.extensions["request_numbers"])


def load_user() -> None:
    """``g.user`` is the account's row, or None. A cookie of an account that is gone is worth nothing."""
    if "user" in g:
        return
    g.user = None
    if request.endpoint != "static" and "user_id" in session:
        g.user = accounts.find(database.get(), session["user_id"])
        if g.user is None:
            session.clear()


def add_headers(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if g.get("user") is not None and "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-cache"
    return response


def add_response_time(response: Response) -> Response:
    response.headers["X-Response-Time"] = f"{_milliseconds():.1f}ms"
    return response


def log_slow_request(error: BaseException | None) -> None:
    if _milliseconds() > SLOW_MILLISECONDS:
        log.warning("%s %s took %.0f ms", request.method, request.path, _milliseconds())


def _milliseconds() -> float:
    now = time.perf_counter()
    return float(now - g.get("started", now)) * 1000


def template_values() -> dict[str, object]:
    """For every template: ``user`` (row or None) and ``here`` (the path, to mark where one is)."""
    load_user()  # for a page that is rendered without the functions above
    return {"user": g.user, "here": request.path}
