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

    The standard analyzer keeps ``asyncio.tasks.wait_for`` as one word. People look for ``wait_for``, for
    ``asyncio.wait_for`` as it is imported, or just for ``wait for``.
    """
    name, module, package = article["name"], article["module"], article["package"]
    inner = name.removeprefix(module).lstrip(".")
    found = [f"{package}.{inner}", inner, *name.split(".")] if inner else [name, *name.split(".")]
    found += [piece for part in name.split(".") for piece in _PIECE.findall(part)]
    return " ".join(dict.fromkeys(found))  # each once, in this order


_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")  # AsyncHTTPClient_2 -> Async HTTP Client 2
