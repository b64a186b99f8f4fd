"""Who asks: headers, and a session, in the place of the cookies and tokens that were struck."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask, request

from graft.errors import GraftError
from graft.flaskside.users import USER_ID, has_login


class IdentityError(GraftError):
    """Nobody can be logged in like that."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What each request is asked with, beside its own headers."""

    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.headers or self.cookies)

    def on(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """``headers`` with these in the place of their own of the same name."""
        own = {name.lower() for name, _ in self.headers}
        taken = [(name, value) for name, value in headers if name.lower() not in own]
        if self.cookies:
            names = {name for name, _ in self.cookies}
            there = "; ".join(value for name, value in taken if name.lower() == "cookie")
            kept = [
                pair.strip()
                for pair in there.split(";")
                if pair.strip() and pair.partition("=")[0].strip() not in names
            ]
            taken = [(name, value) for name, value in taken if name.lower() != "cookie"]
            taken.append(("cookie", "; ".join([*kept, *(f"{name}={value}" for name, value in self.cookies)])))
        return (*taken, *self.headers)


NOBODY = Identity()


def session_of(app: Flask | None, user: str, key: str | None) -> Identity:
    """Somebody who is logged in by the app's session: ``user`` is ``KEY=VALUE``, as in ``user_id=1``, or the value
    alone, where the app has Flask-Login or ``key``, GRAFT_LOG_USER, is known. Several with commas.

    The session is made and stored as the app does it. Raises IdentityError.
    """
    if app is None:
        raise IdentityError("--as needs a Flask app, for its session. Log in by --header instead.")
    content = _content(app, user, key)
    response = app.response_class()
    with app.test_request_context():
        interface = app.session_interface
        session = interface.open_session(app, request)
        if session is None:
            raise IdentityError("The app has no session: it has no SECRET_KEY. Log in by --header instead.")
        session.update(content)
        interface.save_session(app, session, response)
    cookies = [value.partition(";")[0].partition("=") for value in response.headers.getlist("Set-Cookie")]
    return Identity(cookies=tuple((name, value) for name, _, value in cookies))


def _content(app: Flask, user: str, key: str | None) -> dict[str, Any]:
    if "=" not in user:
        key = key or (USER_ID if has_login(app) else None)
        if key is None:
            raise IdentityError(
                f"Under which key does the session keep {user!r}? Write --as KEY={user}, as in user_id=1."
            )
        return {key: user, "_fresh": True} if key == USER_ID else {key: _value(user)}
    pairs = [pair.partition("=") for pair in user.split(",")]
    return {name.strip(): value if name.strip() == USER_ID else _value(value) for name, _, value in pairs}


def _value(text: str) -> Any:
    """``1`` is a number, as JSON has it; anything else that is no JSON is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
