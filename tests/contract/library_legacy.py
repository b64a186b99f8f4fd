"""A Flask app as a team might have it: accounts, bookmarks, forms with CSRF tokens, flash messages, an admin's corner.

Its twin routes are in library_native.py; test_stories.py tells the same stories to both.
"""

from __future__ import annotations

import re
from typing import Any

import flask
from flask import Blueprint, Flask, current_app, flash, g, redirect, render_template, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFError, CSRFProtect
from jinja2 import DictLoader
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

db = SQLAlchemy()
login = LoginManager()
csrf = CSRFProtect()
HASH = "pbkdf2:sha256:1"  # weak, since quick: nobody is protected by it


class User(UserMixin, db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String, unique=True)
    password = db.Column(db.String)
    admin = db.Column(db.Boolean, default=False)
    bookmarks = db.relationship("Bookmark", back_populates="user", order_by="Bookmark.id")


class Book(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String)


class Bookmark(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    user_id = db.Column(db.ForeignKey("user.id"))
    book_id = db.Column(db.ForeignKey("book.id"))
    note = db.Column(db.String, default="")
    user = db.relationship("User", back_populates="bookmarks")
    book = db.relationship("Book")


class Registration(FlaskForm):  # type: ignore[misc]
    name = StringField("Name", [InputRequired(), Length(2, 20)])
    password = PasswordField("Password", [InputRequired(), Length(min=4, message="Too short.")])


class LentOut(Exception):
    """Raised by views; it has an error handler of its own."""


TEMPLATES = {
    "base.html": """<!doctype html><title>{% block title %}{{ library }}{% endblock %}</title>
<nav><a href="{{ url_for('books.index') }}">Books</a>
{% if current_user.is_authenticated %}{{ current_user.name }} ({{ current_user.bookmarks|length }})
<form method=post action="{{ url_for('accounts.sign_out') }}"><input name=csrf_token value="{{ csrf_token() }}"></form>
{% else %}<a href="{{ url_for('accounts.sign_in', next=request.path) }}">Sign in</a>{% endif %}</nav>
{% for category, message in get_flashed_messages(with_categories=true) %}<p class={{ category }}>{{ message }}</p>
{% endfor %}<main class="{{ g.theme }}">{% block main %}{% endblock %}</main><footer>{{ request.endpoint }}</footer>""",
    "index.html": """{% extends "base.html" %}{% block main %}{% for book in books %}
<a href="{{ url_for('.show', number=book.id) }}">{{ book.title|shelf }}</a>{% endfor %}{% endblock %}""",
    "book.html": """{% extends "base.html" %}{% block title %}{{ book.title }}{% endblock %}{% block main %}
<h1>{{ book.title }}</h1>{% if marked %}<b>marked: {{ marked.note }}</b>{% endif %}
<form method=post action="{{ url_for('bookmarks.add', number=book.id) }}"><input name=note>
<input name=csrf_token value="{{ csrf_token() }}"></form>{% endblock %}""",
    "bookmarks.html": """{% extends "base.html" %}{% block main %}<ol>{% for mark in marks %}
<li>{{ mark.book.title }}: {{ mark.note }}
<form method=post action="{{ url_for('.remove', number=mark.id) }}"></form></li>{% endfor %}</ol>{% endblock %}""",
    "form.html": """{% extends "base.html" %}{% block main %}<form method=post>{{ form.csrf_token }}
{% for field in (form.name, form.password) %}{{ field.label }}{{ field() }}
{% for error in field.errors %}<i>{{ error }}</i>{% endfor %}{% endfor %}</form>{% endblock %}""",
    "sign_in.html": """{% extends "base.html" %}{% block main %}<form method=post>
<input name=csrf_token value="{{ csrf_token() }}"><input name=name><input name=password></form>{% endblock %}""",
    "error.html": """{% extends "base.html" %}{% block main %}<h1>{{ code }}</h1><p>{{ text }}</p>{% endblock %}""",
}

accounts = Blueprint("accounts", __name__)
books = Blueprint("books", __name__)
bookmarks = Blueprint("bookmarks", __name__, url_prefix="/bookmarks")
admin = Blueprint("admin", __name__, url_prefix="/admin")
api = Blueprint("api", __name__, url_prefix="/api")
pages = Blueprint("pages", __name__, url_prefix="/<lang>")


def create_app(database: str) -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="library", SQLALCHEMY_DATABASE_URI=database, SESSION_COOKIE_SAMESITE="Lax")
    app.jinja_loader = DictLoader(TEMPLATES)
    for extension in (db, login, csrf):
        extension.init_app(app)
    login.login_view = "accounts.sign_in"
    app.context_processor(lambda: {"library": "The Library"})
    app.add_template_filter(lambda title: f"{title[0]} / {title}", "shelf")
    for blueprint in (accounts, books, bookmarks, admin, api, pages):
        app.register_blueprint(blueprint)
    _add_hooks(app)
    _add_error_handlers(app)
    with app.app_context():
        db.create_all()
        if not db.session.query(Book).count():
            db.session.add_all(Book(title=title) for title in ("Emma", "Ulysses", "Walden & more"))
            db.session.add(User(name="root", password=generate_password_hash("toor", HASH), admin=True))
            db.session.commit()
    return app


def _add_hooks(app: Flask) -> None:
    @app.before_request
    def closed_for_robots() -> Any:
        if request.user_agent.string.startswith("Robot"):
            return "No robots.", 403
        return None

    @app.before_request
    def theme() -> None:
        g.theme = session.get("theme", "light")

    @app.after_request
    def headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        response.headers["X-Theme"] = g.get("theme", "none")
        if current_user.is_authenticated:
            response.headers["Cache-Control"] = "private"
        return response

    @app.teardown_request
    def forget(error: BaseException | None) -> None:
        g.pop("theme", None)


def _add_error_handlers(app: Flask) -> None:
    def told(code: int, text: str) -> Any:
        if request.path.startswith("/api/"):
            return {"error": text, "code": code}, code
        return render_template("error.html", code=code, text=text), code

    app.register_error_handler(404, lambda error: told(404, "We have no such page."))
    app.register_error_handler(403, lambda error: told(403, error.description))
    app.register_error_handler(405, lambda error: told(405, "Not like this."))
    app.register_error_handler(CSRFError, lambda error: told(400, error.description))
    app.register_error_handler(LentOut, lambda error: told(409, f"{error} is lent out."))
    app.register_error_handler(500, lambda error: told(500, "That was us."))


@login.user_loader  # type: ignore[untyped-decorator]
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))


# What the views of both sides do, without a word about who answers.


def find_user(name: str, password: str) -> User | None:
    user = db.session.query(User).filter_by(name=name).one_or_none()
    return user if user is not None and check_password_hash(user.password, password) else None


def sign_in_with(form: Any) -> str | None:
    """Where to go now; None when name or password are wrong."""
    user = find_user(form.get("name", ""), form.get("password", ""))
    if user is None:
        flash("Wrong name or password.", "error")
        return None
    session.permanent = "remember" in form
    login_user(user, remember="remember" in form)
    flash(f"Welcome back, {user.name}!")
    target = request.args.get("next", "")
    return target if re.fullmatch(r"/(?!/)\S*", target) else url_for("books.index")


def register_with(form: Registration) -> bool:
    if db.session.query(User).filter_by(name=form.name.data).count():
        form.name.errors = ["Taken."]
        return False
    password = generate_password_hash(form.password.data, HASH)
    db.session.add(User(name=form.name.data, password=password))
    db.session.commit()
    flash("You may sign in now.")
    return True


def book_of(number: int) -> Book:
    found: Book = db.get_or_404(Book, number)
    return found


def mark_of(number: int) -> Bookmark | None:
    if not current_user.is_authenticated:
        return None
    found: Bookmark | None = db.session.query(Bookmark).filter_by(user_id=current_user.id, book_id=number).first()
    return found


def add_bookmark(number: int, note: str) -> str:
    book = book_of(number)
    if book.title == "Ulysses":
        raise LentOut(book.title)
    db.session.add(Bookmark(user=current_user._get_current_object(), book=book, note=note))
    db.session.commit()
    flash(f"Marked {book.title}.")
    return url_for("bookmarks.show")


def remove_bookmark(number: int) -> str:
    mark = db.get_or_404(Bookmark, number)
    if mark.user_id != current_user.id:
        flask.abort(403, "Not yours.")
    db.session.delete(mark)
    db.session.commit()
    flash("Gone.", "notice")
    return url_for("bookmarks.show")


# The views.


@books.get("/")
def index() -> Any:
    return render_template("index.html", books=db.session.query(Book).order_by(Book.id).all())


@books.get("/books/<int:number>")
def show(number: int) -> Any:
    return render_template("book.html", book=book_of(number), marked=mark_of(number))


@accounts.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Any:
    if request.method == "POST":
        target = sign_in_with(request.form)
        if target is not None:
            return redirect(target)
        return render_template("sign_in.html"), 401
    return render_template("sign_in.html")


@accounts.post("/sign-out")
@login_required
def sign_out() -> Any:
    logout_user()
    flash("Bye.")
    return redirect(url_for("books.index"))


@accounts.route("/register", methods=["GET", "POST"])
def register() -> Any:
    form = Registration()
    if form.validate_on_submit() and register_with(form):
        return redirect(url_for("accounts.sign_in"), 303)
    return render_template("form.html", form=form)


@accounts.post("/theme/<name>")
def change_theme(name: str) -> Any:
    session["theme"] = name
    session.setdefault("history", []).append(name)
    session.modified = True
    return "", 204


@bookmarks.get("/", endpoint="show")
@login_required
def show_bookmarks() -> Any:
    return render_template("bookmarks.html", marks=current_user.bookmarks)


@bookmarks.post("/<int:number>")
@login_required
def add(number: int) -> Any:
    return redirect(add_bookmark(number, request.form.get("note", "")))


@bookmarks.post("/<int:number>/remove")
@login_required
def remove(number: int) -> Any:
    return redirect(remove_bookmark(number))


@admin.before_request
def admins_only() -> None:
    if not getattr(current_user, "admin", False):
        flask.abort(403, "Admins only.")


@admin.get("/users")
def users() -> Any:
    return render_template("error.html", code="Users", text=db.session.query(User).count())


@api.get("/books/<int:number>")
def api_book(number: int) -> Any:
    book = book_of(number)
    return {"title": book.title, "marked": mark_of(number) is not None, "ä": "ü"}


@api.post("/theme")
def api_theme() -> Any:
    session["theme"] = request.get_json()["theme"]
    return {"theme": session["theme"]}


@api.get("/session")
def api_session() -> Any:
    hidden = ("csrf_token", "_id")
    return {key: value for key, value in session.items() if key not in hidden}


@api.get("/crash")
def api_crash() -> Any:
    raise LookupError("a secret detail")


@pages.url_value_preprocessor
def take_language(endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.lang = (values or {}).pop("lang", None)


@pages.get("/about")
def about() -> Any:
    return render_template("error.html", code="About", text=f"{g.lang} {current_app.name[-7:]}")


@pages.get("/crash")
def crash() -> Any:
    session["crashed"] = True
    raise LookupError("a secret detail")
