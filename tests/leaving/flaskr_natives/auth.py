"""Registering, logging in and out."""

from __future__ import annotations

import sqlite3

from flask import flash
from flaskr.db import get_db
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from werkzeug.security import check_password_hash, generate_password_hash


def to(request: Request, endpoint: str) -> Response:
    return RedirectResponse(request.state.legacy.url_for(request, endpoint), 302)


async def register(request: Request) -> Response:
    legacy = request.state.legacy
    if request.method == "POST":
        form = await request.form()
        error = await legacy.run(request, _register, form["username"], form["password"])
        if error is None:
            return to(request, "auth.login")
        await legacy.run(request, flash, error)
    page: Response = await legacy.render(request, "auth/register.html")
    return page


def _register(username: str, password: str) -> str | None:
    if not username or not password:
        return "Username is required." if not username else "Password is required."
    try:
        get_db().execute(
            "INSERT INTO user (username, password) VALUES (?, ?)", (username, generate_password_hash(password))
        )
        get_db().commit()
    except sqlite3.IntegrityError:
        return f"User {username} is already registered."
    return None


async def login(request: Request) -> Response:
    legacy = request.state.legacy
    if request.method == "POST":
        form = await request.form()
        user, error = await legacy.run(request, _user, form["username"], form["password"])
        if error is None:
            request.session.clear()
            request.session["user_id"] = user
            return to(request, "index")
        await legacy.run(request, flash, error)
    page: Response = await legacy.render(request, "auth/login.html")
    return page


def _user(username: str, password: str) -> tuple[int | None, str | None]:
    user = get_db().execute("SELECT * FROM user WHERE username = ?", (username,)).fetchone()
    if user is None:
        return None, "Incorrect username."
    return (user["id"], None) if check_password_hash(user["password"], password) else (None, "Incorrect password.")


async def logout(request: Request) -> Response:
    request.session.clear()
    return to(request, "index")


routes = [
    Route("/auth/register", register, methods=["GET", "POST"]),
    Route("/auth/login", login, methods=["GET", "POST"]),
    Route("/auth/logout", logout),
]
