"""The portal with a small catalogue of its own, and a browser for it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from legacy_flask import catalogue, create_app, database
from legacy_flask.settings import database_path

HOSTILE = {
    "id": 7,
    "position": 1_000_000,
    "package": "hostile",
    "version": "1.0",
    "module": "hostile",
    "kind": "function",
    "name": "hostile.run",
    "title": "hostile.run(x='<script>alert(1)</script>')",
    "signature": "hostile.run(x='<script>alert(1)</script>')",
    "summary": "=HYPERLINK(<b>poison</b>)",
    "text": "A poison of <img src=x onerror=alert(2)>.\n\n<script>alert(3)</script>",
    "source": "hostile.py",
    "line": 3,
}


class Browser:
    """A client that keeps cookies and sends the CSRF token of the session with its forms."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **{"buffered": True, **options})

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token(), **(data or {})}, **options)

    def token(self) -> str:
        with self.client.session_transaction() as session:
            known = session.get("csrf_token")
        return (
            known or re.findall(r'name="csrf_token" value="([^"]+)"', self.get("/login", follow_redirects=True).text)[0]
        )

    def register(self, name: str = "marta", password: str = "a good password") -> TestResponse:
        return self.post("/register", {"name": name, "password": password, "again": password})

    def login(self, name: str = "marta", password: str = "a good password", **more: Any) -> TestResponse:
        return self.post("/login", {"name": name, "password": password, **more})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a catalogue of a few small packages and one article that means harm."""
    data = tmp_path_factory.mktemp("catalogue")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "INSTALLED", {"itsdangerous": "itsdangerous", "a2wsgi": "a2wsgi"})
        patch.setattr(catalogue, "STANDARD_LIBRARY", ("asyncio", "wsgiref", "json"))
        catalogue.build(database_path(data))
    with closing(database.connect(database_path(data))) as connection:
        names = ", ".join(f":{column}" for column in catalogue.COLUMNS)
        connection.execute(f"INSERT INTO articles ({', '.join(catalogue.COLUMNS)}) VALUES ({names})", HOSTILE)
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, to be copied
    return data


@pytest.fixture
def data(built: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(database_path(built), database_path(folder))
    return folder


@pytest.fixture
def app(data: Path) -> Flask:
    return make_app(data)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def reader(browser: Browser) -> Browser:
    """A browser in which somebody is signed in."""
    browser.register()
    browser.get("/")  # takes the welcome message away
    return browser


def make_app(data: Path, **config: Any) -> Flask:
    settings = {"PORTAL_DATA": data, "SECRET_KEY": "test", "PASSWORD_METHOD": "pbkdf2:sha256:1000", **config}
    return create_app(settings)


def rows(data: Path, query: str, *values: Any) -> list[Any]:
    with closing(database.connect(database_path(data))) as connection:
        return connection.execute(query, values).fetchall()


def article_ids(data: Path, where: str = "1") -> Iterator[int]:
    return (row["id"] for row in rows(data, f"SELECT id FROM articles WHERE {where} ORDER BY position"))
