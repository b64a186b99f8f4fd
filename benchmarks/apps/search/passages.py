"""What is searched: passages of made-up text, the same ones each time, and the question to Elasticsearch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

INDEX = "passages"
COUNT = 5000
WORDS = 3000  # the vocabulary; the frequency of a word falls with its rank, as in real text
HITS = 10
MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "text": {"type": "text"}}}

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def vocabulary() -> list[str]:
    chance = random.Random(1)
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4)))] = None
    return list(words)


def passages() -> Iterator[dict[str, str]]:
    """Titles of 4 words and texts of 40 to 120."""
    chance, words = random.Random(2), vocabulary()
    weights = list(accumulate(1 / (rank + 2) for rank in range(WORDS)))

    def text(length: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=length))

    for _ in range(COUNT):
        yield {"title": text(4), "text": text(chance.randint(40, 120))}


def asked() -> list[str]:
    """Questions of two words, one of them rare."""
    chance, words = random.Random(3), vocabulary()
    return [f"{chance.choice(words[100:500])} {chance.choice(words[500:])}" for _ in range(100)]


def body(text: str) -> dict[str, Any]:
    """A cheap question: what is compared are those who ask it, and they share one core of Elasticsearch."""
    return {"query": {"match": {"text": text}}, "size": HITS, "_source": ["title"]}


def question(text: str) -> dict[str, Any]:
    """Arguments for ``search`` of either client."""
    return {"index": INDEX, "body": body(text)}


def answer(found: Any) -> dict[str, Any]:
    hits = found["hits"]
    return {
        "total": hits["total"]["value"],
        "titles": [
            {"id": hit["_id"], "title": hit["_source"]["title"], "score": hit["_score"]} for hit in hits["hits"]
        ],
    }
