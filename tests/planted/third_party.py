"""Six applications that others wrote, with data that everybody may see, asked for some of their pages.

``python -m tests.planted.third_party APP FOLDER`` is one process of an app's two servers: it makes the data in FOLDER
where there is none, asks for each page a few times, and prints the answers as JSON. It runs with the app's own packages
on the PYTHONPATH (see ``record``), and knows nothing of Graft.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROUNDS = 3
PAUSE = 1.1
"""Seconds between two rounds: what says how late it is says something else then."""

HOST = "portal.example"
WORDS = """
harbor market garden winter letter silver station morning paper kitchen bridge river candle island window forest
teacher orange mountain picture summer village doctor bottle yellow carpet simple quiet narrow gentle evening travel
""".split()  # noqa: SIM905

Answer = dict[str, Any]
Ask = Callable[[str], Answer]
Routes = dict[str, list[str]]
"""What each shape is called, and the paths of one route that are asked for."""


def text(*seed: object, words: int = 6) -> str:
    return " ".join(random.Random(repr(seed)).choices(WORDS, k=words))


def answer_of(status: int, headers: Iterator[tuple[str, str]], body: bytes) -> Answer:
    kept = [[name.lower(), value] for name, value in headers if name.lower() not in ("content-length", "date")]
    return {"at": time.time(), "status": status, "headers": kept, "body": body.decode()}


class Wsgi:
    """A visitor of a WSGI app, whose cookies stay as they were when it had logged in."""

    def __init__(self, app: Any, headers: dict[str, str] | None = None) -> None:
        from werkzeug.test import Client

        self._without_cookies = Client(app, use_cookies=False)
        self._client = Client(app)
        self._options: dict[str, Any] = {"base_url": f"http://{HOST}", "headers": headers or {}}
        self._cookie: dict[str, str] = {}

    def __call__(self, path: str) -> Answer:
        options = {**self._options, "headers": {**self._options["headers"], **self._cookie}}
        response = self._without_cookies.get(path, **options)
        return answer_of(response.status_code, iter(response.headers.items()), response.data)

    def log_in(self, folder: Path, post: Callable[[], None]) -> None:
        """Once; another process has the same cookies."""
        kept = folder / "cookie"
        if not kept.exists():
            post()
            cookies = (self._client._cookies or {}).values()
            kept.write_text("; ".join(f"{cookie.key}={cookie.value}" for cookie in cookies))
        if kept.read_text():
            self._cookie = {"cookie": kept.read_text()}

    def post(self, path: str, form: dict[str, Any] | None = None, **options: Any) -> Any:
        return self._client.post(path, data=form, **self._options, **options)

    def get(self, path: str) -> str:
        return str(self._client.get(path, **self._options).text)


def httpbin(folder: Path) -> tuple[Ask, Routes]:
    """What a request looked like, and a page of links. ISC licence."""
    from httpbin import app  # type: ignore[import-not-found]

    paths = [f"/anything/{text(n, words=1)}/{n}?{urlencode({'q': text(n, 'q', words=2), 'page': n})}" for n in range(8)]
    return Wsgi(app, {"user-agent": "recorder", "accept-language": "de,en;q=0.8"}), {
        "httpbin anything": paths,
        "httpbin links (HTML)": [f"/links/{12 + n}/{n}" for n in range(8)],
    }


def ihatemoney(folder: Path) -> tuple[Ask, Routes]:
    """Shared expenses: an API of bills, and pages behind a login. BSD licence."""
    from ihatemoney.run import create_app  # type: ignore[import-not-found]

    class Settings:
        SQLALCHEMY_DATABASE_URI = f"sqlite:///{folder}/money.sqlite"
        SECRET_KEY = "recorded"
        SESSION_COOKIE_SECURE = False
        RATELIMIT_ENABLED = False

    new = not (folder / "money.sqlite").exists()
    authorization = "Basic " + base64.b64encode(b"flat:recorded").decode()
    visitor = Wsgi(create_app(Settings), {"authorization": authorization})
    if new:
        form = {"name": "Flat", "id": "flat", "password": "recorded", "contact_email": "flat@example.org"}
        assert visitor.post("/api/projects", {**form, "default_currency": "XXX"}).status_code == 201
        for name in ("Anna", "Bodo", "Chloé"):
            visitor.post("/api/projects/flat/members", {"name": name})
        for n in range(24):
            bill = {"date": f"2026-0{1 + n % 9}-1{n % 9}", "what": text("bill", n, words=3), "payer": 1 + n % 3}
            bill |= {"payed_for": [1, 2 + n % 2], "amount": f"{random.Random(n).randrange(100, 9999) / 100:.2f}"}
            assert visitor.post("/api/projects/flat/bills", bill | {"bill_type": "Expense"}).status_code == 201

    def post() -> None:
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', visitor.get("/authenticate?project_id=flat"))
        form = {"id": "flat", "password": "recorded"} | ({"csrf_token": token[1]} if token else {})
        assert visitor.post("/authenticate?project_id=flat", form).status_code == 302

    visitor.log_in(folder, post)
    return visitor, {
        "ihatemoney bills": [f"/api/projects/flat/bills/{n}" for n in range(1, 13)] + ["/api/projects/flat/bills"],
        "ihatemoney edit (HTML)": [f"/flat/edit/{n}" for n in range(1, 3)],
        "ihatemoney list (HTML)": ["/flat/", "/flat/?page=2"],
    }


def isso(folder: Path) -> tuple[Ask, Routes]:
    """Comments below the pages of a site. MIT licence."""
    from isso import config, make_app  # type: ignore[import-not-found]

    settings = config.load(config.default_file())
    settings.set("general", "dbpath", str(folder / "comments.sqlite"))
    settings.set("general", "host", "http://127.0.0.1:9/")
    settings.set("general", "latest-enabled", "true")
    settings.set("guard", "enabled", "off")
    new = not (folder / "comments.sqlite").exists()
    visitor = Wsgi(make_app(settings), {"origin": "http://127.0.0.1:9"})
    if new:
        for n in range(48):
            comment = {"text": text("comment", n, words=14), "author": text("author", n % 5, words=1).title()}
            comment |= {"title": text("thread", n % 8, words=3), "website": None, "email": f"reader{n % 5}@example.org"}
            posted = visitor.post(f"/new?uri=/post-{n % 8}", json=comment)
            assert posted.status_code == 201, posted.text
    return visitor, {
        "isso comments": [f"/?uri=/post-{n}" for n in range(8)],
        "isso latest": [f"/latest?limit={n}" for n in range(3, 9)],
    }


def otterwiki(folder: Path) -> tuple[Ask, Routes]:
    """A wiki over Git: its pages, their histories, their editor. MIT licence."""
    repository = folder / "repository"
    new = not repository.exists()
    if new:
        import git  # type: ignore[import-not-found]

        repository.mkdir()
        git.Repo.init(repository)
    os.environ |= {"REPOSITORY": str(repository), "SECRET_KEY": "recorded-recorded-recorded"}
    os.environ |= {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/wiki.sqlite"}
    os.environ |= {"READ_ACCESS": "ANONYMOUS", "WRITE_ACCESS": "ANONYMOUS", "LOG_LEVEL": "ERROR"}
    import otterwiki.views  # type: ignore[import-not-found]  # noqa: F401
    from otterwiki.server import app  # type: ignore[import-not-found]

    visitor = Wsgi(app)
    if new:
        for n in range(6):
            for edition in range(2):
                token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', visitor.get(f"/Page{n}/edit"))
                lines = [f"# {text('wiki', n, words=3)}", text("first", n, edition, words=20), "```", "  a = 1", "```"]
                lines += [f"- {text('item', n, k, words=3)}" for k in range(4)]
                form = {"content": "\n\n".join(lines), "commit": text("commit", n, edition, words=3)}
                saved = visitor.post(f"/Page{n}/save", form | ({"csrf_token": token[1]} if token else {}))
                assert saved.status_code in (200, 302), saved.text
    visitor.log_in(folder, lambda: None)
    return visitor, {
        "otterwiki page (HTML)": [f"/Page{n}" for n in range(3)],
        "otterwiki history (HTML)": [f"/Page{n}/history" for n in range(2)],
    }


def datasette(folder: Path) -> tuple[Ask, Routes]:
    """Tables of a database as JSON and as pages. Apache 2 licence."""
    from datasette.app import Datasette  # type: ignore[import-not-found]

    path = folder / "data.sqlite"
    if not path.exists():
        with sqlite3.connect(path) as database:
            database.execute("create table parts (id integer primary key, name text, price real, made text, stock int)")
            chance = random.Random(1)
            rows = [
                (n, text("part", n, words=2), round(chance.uniform(1, 99), 2), f"2026-0{1 + n % 9}-07T10:30:0{n % 10}Z")
                for n in range(1, 61)
            ]
            database.executemany(
                "insert into parts values (?, ?, ?, ?, ?)", [(*row, chance.randrange(90)) for row in rows]
            )
    served = Datasette([str(path)], settings={"default_page_size": 8}, secret="recorded")
    loop = asyncio.new_event_loop()

    def ask(path: str) -> Answer:
        response = loop.run_until_complete(served.client.get(path))
        return answer_of(response.status_code, iter(response.headers.multi_items()), response.content)

    return ask, {
        "datasette table": [f"/data/parts.json?_size={4 + n}&_sort=price&_facet=stock" for n in range(5)],
        "datasette row": [f"/data/parts/{n}.json?_shape=objects" for n in range(1, 11)],
        "datasette table (HTML)": [f"/data/parts?_size={4 + n}&_sort=name" for n in range(3)],
    }


def django(folder: Path) -> tuple[Ask, Routes]:
    """The admin's lists and forms of users and groups. BSD licence."""
    from django.conf import settings  # type: ignore[import-untyped]

    parts = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
    templates = {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
    processors = ("template.context_processors.request", "contrib.auth.context_processors.auth")
    processors += ("contrib.messages.context_processors.messages",)
    middlewares = ("sessions.middleware.SessionMiddleware", "auth.middleware.AuthenticationMiddleware")
    settings.configure(
        SECRET_KEY="recorded-recorded-recorded-recorded-recorded",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        STATIC_URL="/static/",
        INSTALLED_APPS=[f"django.contrib.{part}" for part in parts],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            *(f"django.contrib.{each}" for each in (*middlewares, "messages.middleware.MessageMiddleware")),
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        TEMPLATES=[{**templates, "OPTIONS": {"context_processors": [f"django.{each}" for each in processors]}}],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "site.sqlite")}},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    import django as framework
    from django.core.management import call_command  # type: ignore[import-untyped]

    framework.setup()
    from django.contrib import admin  # type: ignore[import-untyped]
    from django.contrib.auth.models import Group, User  # type: ignore[import-untyped]
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    globals()["urlpatterns"] = [path("admin/", admin.site.urls)]
    new = not (folder / "site.sqlite").exists()
    call_command("migrate", verbosity=0)
    if new:
        User.objects.create_superuser("anna", "anna@example.org", "recorded")
        for n in range(12):
            User.objects.create_user(f"{text('user', n, words=1)}{n}", f"user{n}@example.org", "recorded")
            Group.objects.create(name=text("group", n, words=2) + f" {n}")
    visitor = Wsgi(get_wsgi_application())

    def post() -> None:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', visitor.get("/admin/login/"))
        assert token
        form = {"username": "anna", "password": "recorded", "csrfmiddlewaretoken": token[1]}
        assert visitor.post("/admin/login/?next=/admin/", form).status_code == 302

    visitor.log_in(folder, post)
    return visitor, {
        "Django admin users (HTML)": ["/admin/auth/user/?q=a", "/admin/auth/user/?o=2&q=e"],
        "Django admin delete (HTML)": [f"/admin/auth/user/{n}/delete/" for n in range(2, 6)],
        "Django admin password (HTML)": [f"/admin/auth/user/{n}/password/" for n in range(2, 4)],
    }


APPS = {each.__name__: each for each in (httpbin, ihatemoney, isso, otterwiki, datasette, django)}


def main(name: str, folder: Path) -> None:
    said = sys.stdout
    sys.stdout = sys.stderr  # apps print this and that
    ask, routes = APPS[name](folder)
    answers: dict[str, dict[str, list[Answer]]] = {
        shape: {path: [] for path in paths} for shape, paths in routes.items()
    }
    for number in range(ROUNDS):
        time.sleep(PAUSE if number else 0)
        for by_path in answers.values():
            for path, kept in by_path.items():
                kept.append(ask(path))
    json.dump(answers, said)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
