from __future__ import annotations

from pathlib import Path

import pytest
from elasticsearch import NotFoundError, TransportError
from flask import Flask
from starlette.testclient import TestClient

from tests.legacy_flask.portal import article_ids

LISTINGS = [
    "",
    "?page=2",
    "?page=2&per_page=7",
    "?per_page=100",
    "?page=9999&per_page=1",
    "?package=json",
    "?package=asyncio&kind=class&per_page=3&page=2",
    "?kind=property",
    "?package=&kind=",
    "?package=nobody",
    "?package=JSON",
    "?kind=nothing",
    "?package=%00&kind=%F0%9F%90%8D",
    "?package=json&package=asyncio",
    "?unknown=1",
    "?page=1&page=x",
    "?page=001",
    "?page=500&per_page=20",
    "?page=100&per_page=100",
]
MISTAKES = [
    "?page=0",
    "?page=-1",
    "?page=",
    "?page=x",
    "?page=x&page=1",
    "?page=1.0",
    "?page=%201",
    "?page=1_0",
    "?page=%D9%A3",
    "?page=99999999999999999999",
    "?page=10001",
    "?page=501",
    "?page=101&per_page=100",
    "?per_page=0",
    "?per_page=101",
    "?per_page=x&page=y",
]


@pytest.mark.parametrize("query", LISTINGS + MISTAKES)
def test_a_listing_is_the_one_that_flask_gives(native: TestClient, app: Flask, query: str) -> None:
    legacy, answer = app.test_client().get(f"/api/articles{query}"), native.get(f"/api/articles{query}")
    assert answer.status_code == legacy.status_code == (400 if query in MISTAKES else 200)
    assert answer.json() == legacy.get_json()
    assert answer.headers["content-type"] == legacy.headers["Content-Type"]


def test_every_article_is_the_one_that_flask_gives(native: TestClient, app: Flask, data: Path) -> None:
    legacy = app.test_client()
    for number in [*list(article_ids(data))[::10], 7]:
        answer = native.get(f"/api/articles/{number}")
        assert answer.status_code == 200
        assert answer.json() == legacy.get(f"/api/articles/{number}").get_json()


@pytest.mark.parametrize("number", ["1", "0", "007", str(2**63), "9" * 60])
def test_an_unknown_article_is_the_404_that_flask_gives(native: TestClient, app: Flask, number: str) -> None:
    legacy, answer = app.test_client().get(f"/api/articles/{number}"), native.get(f"/api/articles/{number}")
    assert answer.status_code == legacy.status_code
    assert answer.json() == legacy.get_json()


def test_a_missing_index_is_not_a_missing_article(without_index: TestClient) -> None:
    with pytest.raises(NotFoundError):
        without_index.get("/api/articles/7")
    with pytest.raises(NotFoundError):
        without_index.get("/api/articles")


def test_trouble_of_the_server_is_left_to_the_gateway(without_server: TestClient) -> None:
    for path in ("/api/articles", "/api/articles/7"):
        with pytest.raises(TransportError):
            without_server.get(path)
