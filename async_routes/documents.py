"""The articles as Elasticsearch keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from legacy_flask import catalogue

ARTICLES = "articles"  # the alias that every question goes to
REACH = 10_000  # Elasticsearch's index.max_result_window: from + size go no further

LISTED = ["id", "package", "version", "module", "kind", "name", "title", "summary"]
FULL = [*LISTED, "signature", "text", "source", "line"]

KEYWORD = {"type": "keyword"}
TEXT = {"type": "text"}
SHOWN_ONLY = {"type": "text", "index": False}
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "id": {"type": "long"},
        "position": {"type": "integer"},
        "package": KEYWORD,
        "version": KEYWORD,
        "module": KEYWORD,
        "kind": KEYWORD,
        "name": KEYWORD,
        "title": TEXT,
        "words": TEXT,
        "text": TEXT,
        "summary": SHOWN_ONLY,
        "signature": SHOWN_ONLY,
        "source": SHOWN_ONLY,
        "line": {"type": "integer"},
    },
}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each article of the portal's catalogue as (id, source)."""
    for article in catalogue.articles():
        yield str(article["id"]), {**article, "words": words(article)}


def words(article: dict[str, Any]) -> str:
    """The ways in which people write this name.

    The standard analyzer keeps ``asyncio.tasks.wait_for`` as one word. People look for ``wait_for`` or
    ``tasks.wait_for``, for ``asyncio.wait_for`` as it is imported, or just for ``wait for``.
    """
    name, inner = article["name"], article["name"].removeprefix(article["module"])  # the second begins with a dot
    parts = name.split(".")
    tails = [".".join(parts[start:]) for start in range(len(parts))]
    pieces = [piece for part in parts for piece in _PIECE.findall(part)]
    return " ".join(dict.fromkeys([article["package"] + inner, *tails, *parts, *pieces]))  # each of them once


_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")  # AsyncHTTPClient_2 -> Async HTTP Client 2
