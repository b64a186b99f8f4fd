"""CSRF tokens, safe redirects, and the login_required decorator. Hand-made, as it was usual."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, abort, flash, g, redirect, request, session, url_for

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
TOKEN = "csrf_token"


def init_app(app: Flask) -> None:
    app.jinja_env.globals["csrf_token"] = csrf_token
    app.before_request(check_csrf)


def csrf_token() -> str:
    """The token of this session, made when the first form asks for it."""
    if TOKEN not in session:
        session[TOKEN] = secrets.token_urlsafe(24)
    return str(session[TOKEN])


def check_csrf() -> None:
    """A request that changes something carries the session's token, in its form or in ``X-CSRF-Token``."""
    if request.method in SAFE_METHODS or request.routing_exception is not None:
        return  # a path that does not exist is a 404 and not a 400
    sent = request.headers.get("X-CSRF-Token") or request.form.get(TOKEN, "")
    kept = session.get(TOKEN)
    if not isinstance(kept, str) or not hmac.compare_digest(kept.encode(), sent.encode("utf-8", "replace")):
        abort(400, "This form is out of date. Go back, reload the page, and send it again.")


def start_session(user_id: int, *, remember: bool) -> None:
    """Log in. Whatever the session held before is dropped, its CSRF token too: nobody can have planted it."""
    session.clear()
    session["user_id"] = user_id
    session.permanent = remember


def safe_next(target: str | None) -> str:
    """Where to go after a login: ``target`` if it is a path on this site, else the home page."""
    if target and _is_local(target):
        return target
    return url_for("pages.home")


def _is_local(target: str) -> bool:
    # Browsers read "\" as "/" and skip control characters, so that "/\evil.example" leaves the site.
    if not target.startswith("/") or target.startswith("//") or "\\" in target:
        return False
    return all(ord(sign) > 32 and ord(sign) != 127 for sign in target)


def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def guarded(*arguments: Any, **values: Any) -> Any:
        if g.user is None:
            flash("Please sign in first.", "info")
            here = request.full_path.rstrip("?") if request.method in SAFE_METHODS else None
            return redirect(url_for("auth.login", next=here))
        return view(*arguments, **values)

    return guarded
