"""Passages of the documentation that answer a question, with what can be quoted from them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

from elasticsearch import AsyncElasticsearch

from async_routes.chat.topics import Topic
from async_routes.documents import ARTICLES
from async_routes.search import RANKED

FOUND = 5  # passages that an answer may use
QUOTED = 3  # of these, how many an answer without a model quotes
LONGEST_QUOTE = 360  # characters
LONGEST_TEXT = 1500  # characters of a passage that a model is shown
PACKAGES_FRESH = 300.0  # seconds


@dataclass(frozen=True)
class Passage:
    """One article. ``quote`` is taken from it word by word (white space apart); ``text`` is for the model."""

    number: int
    id: int
    title: str
    package: str
    version: str
    url: str
    quote: str
    text: str

    def source(self) -> dict[str, Any]:
        """``{"number", "id", "title", "package", "version", "url", "quote"}``"""
        told = asdict(self)
        del told["text"]
        return told


async def find(client: AsyncElasticsearch, topic: Topic, prefix: str) -> list[Passage]:
    """The best passages on ``topic``, of the packages that it names if they have any. ``prefix`` is of the portal."""
    if not topic.query:
        return []
    hits = await _search(client, topic.query, topic.packages)
    if not hits and topic.packages:
        hits = await _search(client, topic.query, ())
    return [_passage(number, hit["_source"], topic, prefix) for number, hit in enumerate(hits, 1)]


async def packages(client: AsyncElasticsearch) -> tuple[str, ...]:
    """The names of all that is documented; asked again every five minutes."""
    known = _packages.get(client)
    if known is None or known[0] < time.monotonic():
        found = await client.search(
            index=ARTICLES, size=0, aggs={"names": {"terms": {"field": "package", "size": 200}}}
        )
        names = tuple(bucket["key"] for bucket in found["aggregations"]["names"]["buckets"])
        known = (time.monotonic() + (PACKAGES_FRESH if names else 0), names)
        _packages[client] = known
    return known[1]


_packages: WeakKeyDictionary[AsyncElasticsearch, tuple[float, tuple[str, ...]]] = WeakKeyDictionary()


async def _search(client: AsyncElasticsearch, query: str, named: Iterable[str]) -> list[dict[str, Any]]:
    spelt = [name for name in await packages(client) if name.lower() in set(named)]
    found = await client.search(
        index=ARTICLES,
        query={
            "bool": {
                "must": [{"bool": {"should": [_matching(query), _matching(forms(query))]}}],
                "filter": [{"terms": {"package": spelt}}] if spelt else [],
            }
        },
        sort=["_score", {"position": "asc"}],
        size=FOUND,
        source_includes=["id", "title", "package", "version", "summary", "text"],
    )
    hits: list[dict[str, Any]] = found["hits"]["hits"]
    return hits


def _matching(query: str) -> dict[str, Any]:
    return {"multi_match": {"query": query, "fields": RANKED, "type": "most_fields"}}


def forms(query: str) -> str:
    """Other forms of the words: somebody who asks how to stream is well served with ``StreamingResponse``."""
    found: list[str] = []
    for word in query.split():
        base = _SUFFIX.sub("", word) if word.isalpha() and len(word) > 4 else word
        found += [base + ending for ending in ("", "s", "ing", "ed") if base + ending != word]
    return " ".join(found)


def _passage(number: int, article: dict[str, Any], topic: Topic, prefix: str) -> Passage:
    return Passage(
        number,
        article["id"],
        article["title"],
        article["package"],
        article["version"],
        f"{prefix}/articles/{article['id']}",
        quote(article["text"] or article["summary"], topic.words),
        article["text"][:LONGEST_TEXT],
    )


def quote(text: str, words: Iterable[str]) -> str:
    """The sentence of ``text`` that has most of ``words``, and the one after it if there is room; white space is
    made even. Empty when the text is."""
    sentences = [even for part in _END.split(text) if (even := " ".join(part.split()))]
    if not sentences:
        return ""
    stems = {_stem(word) for word in words}
    best = max(range(len(sentences)), key=lambda index: (_hits(sentences[index], stems), -index))
    taken = sentences[best]
    if best + 1 < len(sentences) and len(taken) + len(sentences[best + 1]) < LONGEST_QUOTE:
        taken = f"{taken} {sentences[best + 1]}"
    return taken if len(taken) <= LONGEST_QUOTE else taken[:LONGEST_QUOTE].rsplit(" ", 1)[0]


def _hits(sentence: str, stems: set[str]) -> int:
    if len(sentence) < 15:
        return 0
    return len(stems & {_stem(word.lower()) for word in _WORD.findall(sentence)})


def _stem(word: str) -> str:
    """Good enough to find ``streams`` in ``streaming``."""
    return word[:5] if word.isalpha() else word


_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"\w+")
_SUFFIX = re.compile(r"(ing|ed|s)$")
