from __future__ import annotations

import sqlite3
from contextlib import closing

from flask import Flask

from legacy_flask.settings import database_path
from tests.legacy_flask.portal import Browser


def test_health_tells_the_state_of_each_part(browser: Browser) -> None:
    answer = browser.get("/health")
    told = answer.get_json()
    assert (answer.status_code, told["status"], answer.headers["Cache-Control"]) == (200, "ok", "no-store")
    assert told["parts"]["database"] == {"status": "ok"}
    assert told["parts"]["catalogue"]["status"] == "ok"
    assert told["parts"]["catalogue"]["articles"] > 0


def test_a_part_that_fails_is_named_and_the_answer_is_503(app: Flask, browser: Browser) -> None:
    with closing(sqlite3.connect(database_path(app.config["PORTAL_DATA"]))) as connection:
        connection.execute("DROP TABLE articles")
    answer = browser.get("/health")
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "failed"
    assert answer.get_json()["parts"]["catalogue"] == {"status": "failed"}
    assert answer.get_json()["parts"]["database"] == {"status": "ok"}
