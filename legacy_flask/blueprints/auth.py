"""Accounts: register, sign in, sign out."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, flash, g, redirect, render_template, request, session, url_for

from legacy_flask import accounts, database
from legacy_flask.security import safe_next, start_session

blueprint = Blueprint("auth", __name__)

Answer = str | Response | tuple[str, int]


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> Answer:
    if g.user is not None:
        return redirect(url_for("pages.home"))  # type: ignore[return-value]
    if request.method == "GET":
        return render_template("register.html")
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    problem = accounts.problem(name, password, request.form.get("again", ""))
    user_id = None
    if problem is None:
        user_id = accounts.create(database.get(), name, password, current_app.config["PASSWORD_METHOD"])
    if user_id is None:
        return render_template("register.html", name=name, problem=problem or "This name is taken."), 400
    start_session(user_id, remember=False)
    flash(f"Welcome, {name}. Your account is ready.", "success")
    return redirect(safe_next(request.values.get("next")))  # type: ignore[return-value]


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Answer:
    if g.user is not None:
        return redirect(safe_next(request.values.get("next")))  # type: ignore[return-value]
    if request.method == "GET":
        return render_template("login.html")
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    user = accounts.verified(database.get(), name, password, current_app.config["PASSWORD_METHOD"])
    if user is None:
        return render_template("login.html", name=name, problem="This name and password don't belong together."), 400
    start_session(user["id"], remember="remember" in request.form)
    flash(f"Welcome back, {user['name']}.", "success")
    return redirect(safe_next(request.values.get("next")))  # type: ignore[return-value]


@blueprint.post("/logout")
def logout() -> Response:
    session.clear()
    flash("You are signed out.", "info")
    return redirect(url_for("pages.home"))  # type: ignore[return-value]
