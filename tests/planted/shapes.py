"""Answers as real applications give them, each beside the noise that they have.

A shape is a site: for one request it gives the answer of one side. Both sides read the same data, which belongs to the
site and moves with its clock; what is drawn anew for each answer (times, tokens, order) is drawn for each side. The
shapes are those of the example app and of seven others, as their documentation and their own tests show them: a wiki's
pages, a forge's repositories, a shop's products, a forum's topics, a feed reader's entries, a monitoring API. What
others really said is in ``recorded``; ``sites`` has both.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

START = 1_790_000_000.0
ITEMS, USERS = 60, 4
WEIGHTS = tuple(1 / (rank + 1) for rank in range(ITEMS))
"""Some items are asked for often and most are seldom, as everywhere."""


@dataclass
class Request:
    """One request of the stream: what it asks for, who asks, and when."""

    number: int
    item: int
    user: int
    now: float


@dataclass
class Reply:
    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)


WORDS = tuple(
    f"{first}{last}"
    for first in ("river", "stone", "light", "paper", "garden", "silver", "harbor")
    for last in ("side", "fall", "works", "mark", "bridge")
)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def fixed(*seed: Any) -> random.Random:
    return random.Random(repr(seed))


class Side:
    """What one side keeps for itself: its caches, its own chance."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self._cache: dict[Any, tuple[float, Any]] = {}

    def cached(self, key: Any, now: float, seconds: float, make: Callable[[], Any]) -> Any:
        at, value = self._cache.get(key, (-1e18, None))
        if now - at > seconds:
            at, value = now, make()
            self._cache[key] = at, value
        return value

    def token(self, size: int = 32) -> str:
        return "".join(
            self.chance.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(size)
        )


Shape = Callable[[Request, Side], Reply]


def example_articles(request: Request, side: Side) -> Reply:
    """The example app's search: hits, scores, a time it took."""
    rows = [
        {
            "id": request.item * 10 + n,
            "title": " ".join(fixed("title", request.item, n).choices(WORDS, k=3)),
            "score": round(fixed("score", request.item, n).uniform(1, 9), 6) + side.chance.uniform(-1e-9, 1e-9),
            "published": iso(START - fixed("p", request.item, n).randrange(10**7)),
            "tags": fixed("tags", request.item, n).sample(WORDS, 3),
        }
        for n in range(8)
    ]
    return Reply({"took": side.chance.randint(1, 40), "total": 80 + request.item, "page": 1, "items": rows})


def shop_products(request: Request, side: Side) -> Reply:
    """A shop: prices by SKU, stock that moves, a cart token, recommendations in random order."""
    prices = {
        f"SKU-{request.item}-{n}": {
            "price": f"{fixed('price', request.item, n).randrange(100, 9999) / 100:.2f}",
            "currency": "EUR",
            "ts": request.now + side.chance.uniform(0, 0.01),
            "available": fixed("a", request.item, n).random() < 0.7,
        }
        for n in range(6)
    }
    recommended = fixed("r", request.item).sample(range(1000), 6)
    side.chance.shuffle(recommended)
    return Reply(
        {
            "prices": prices,
            "recommended": recommended,
            "stock": int(request.now // 30) * 7 % 1000,
            "cart": {"token": side.token(), "items": [], "total": "0.00", "discount": None},
            "seller": {"name": f"Shop {request.item}", "rating": round(fixed("rt", request.item).uniform(1, 5), 2)},
        },
        cookies=[f"cart={side.token()}; Path=/; HttpOnly; SameSite=Lax"],
    )


def forge_repository(request: Request, side: Side) -> Reply:
    """A forge's repository: ids, counters that grow with each view, urls, permissions."""
    chance = fixed("forge", request.item)
    return Reply(
        {
            "id": request.item,
            "full_name": f"team{request.item % 7}/project-{request.item}",
            "private": chance.random() < 0.3,
            "owner": {"login": f"team{request.item % 7}", "email": "", "is_admin": False},
            "stars_count": chance.randrange(5000),
            "watchers": chance.randrange(500),
            "open_issues_count": chance.randrange(90),
            "views": request.number + side.chance.randint(0, 2),
            "size": chance.randrange(10**6),
            "created_at": iso(START - chance.randrange(10**8)),
            "updated_at": iso(START - chance.randrange(10**6)),
            "permissions": {"admin": False, "push": chance.random() < 0.5, "pull": True},
            "topics": chance.sample(WORDS, 4),
            "default_branch": "main",
            "license": None if chance.random() < 0.5 else {"key": "mit", "name": "MIT License"},
            "request_id": str(uuid.UUID(int=side.chance.getrandbits(128), version=4)),
        },
        headers={"cache-control": "private, max-age=60"},
    )


def forum_topics(request: Request, side: Side) -> Reply:
    """A forum's list of topics: a list that is cached for some seconds on each side, users by id."""
    chance = fixed("forum", request.item)
    topics = [
        {
            "id": 100 * request.item + n,
            "title": " ".join(chance.choices(WORDS, k=5)),
            "posts_count": chance.randrange(1, 400),
            "views": 1000 + n + int(request.now) // 10,
            "pinned": chance.random() < 0.1,
            "last_posted_at": iso(START - chance.randrange(10**6)),
            "excerpt": None if chance.random() < 0.4 else " ".join(chance.choices(WORDS, k=8)),
        }
        for n in range(20)
    ]
    online = side.cached(("online", request.item), request.now, 5, lambda: 40 + int(request.now * 3) % 37)
    return Reply(
        {
            "topic_list": {"topics": topics, "per_page": 20, "more_topics_url": f"/latest?page={request.item + 1}"},
            "users": {str(1000 + request.item + n): {"username": f"user{n}", "admin": n == 0} for n in range(5)},
            "stats": {"online": online, "generated_at": iso(request.now + side.chance.uniform(0, 0.05))},
        },
        headers={"x-frame-options": "SAMEORIGIN", "content-security-policy": f"script-src 'nonce-{side.token(22)}'"},
    )


def feed_entries(request: Request, side: Side) -> Reply:
    """A feed reader: entries with html in them, a status that is cached, sometimes a hint."""
    chance = fixed("feed", request.item)
    entries = [
        {
            "id": 1000 * request.item + n,
            "hash": f"{chance.getrandbits(128):032x}",
            "title": " ".join(chance.choices(WORDS, k=6)),
            "content": f"<p>{' '.join(chance.choices(WORDS, k=12))}</p>",
            "reading_time": chance.randrange(1, 30),
            "starred": chance.random() < 0.2,
            "published_at": iso(START - chance.randrange(10**7)),
        }
        for n in range(10)
    ]
    body = {"total": 300 + request.item, "entries": entries, "checked": int(request.now)}
    if side.chance.random() < 0.03:
        body["hint"] = "refreshing"
    return Reply(body)


def monitoring_series(request: Request, side: Side) -> Reply:
    """A monitoring API: floats with jitter in the last places, timings, a cache's hit or miss."""
    chance = fixed("series", request.item)
    points = [
        [START + 60 * n, round(chance.uniform(0, 100), 3) + side.chance.uniform(-1e-10, 1e-10)] for n in range(30)
    ]
    return Reply(
        {
            "status": "success",
            "data": {
                "resultType": "matrix",
                "result": [{"metric": {"host": f"h{request.item}", "job": "node"}, "values": points}],
            },
            "stats": {
                "timings": {
                    "evalTotalTime": side.chance.uniform(0.001, 0.02),
                    "queueTime": side.chance.uniform(0, 1e-4),
                },
                "samples": 30,
                "cache": "hit" if side.chance.random() < 0.8 else "miss",
            },
            "warnings": [],
        }
    )


def wiki_page(request: Request, side: Side) -> Reply:
    """A wiki's page in HTML: a token in a form, a nonce, a line that says when and how long."""
    chance = fixed("wiki", request.item)
    rows = "".join(
        f"<tr><td>{n}</td><td><a href='/page/{chance.randrange(999)}'>{chance.choice(WORDS)}</a></td></tr>"
        for n in range(6)
    )
    return Reply(
        f"<!doctype html><html><head><title>Page {request.item}</title>"
        f"<script nonce='{side.token(22)}'>var page = {request.item};</script></head><body class='wiki page'>"
        f"<h1>{' '.join(chance.choices(WORDS, k=4))}</h1><p id='intro'>{' '.join(chance.choices(WORDS, k=20))}</p>"
        f"<table>{rows}</table><form method='post' action='/page/{request.item}'>"
        f"<input type='hidden' name='csrf_token' value='{side.token(43)}'>"
        f"<textarea name='text'>line one\n  line two {request.item}</textarea>"
        f"<input type='checkbox' name='watch' checked></form>"
        f"<footer>Rendered at {iso(request.now)} in {side.chance.uniform(1, 30):.3f} ms by version 2.14</footer>"
        "</body></html>",
        headers={"content-type": "text/html; charset=utf-8", "content-language": "en"},
        cookies=[f"seen={side.token()}; Path=/; Max-Age=3600"],
    )


def admin_table(request: Request, side: Side) -> Reply:
    """A server-rendered list, as of an admin's page."""
    chance = fixed("admin", request.item)
    rows = "".join(
        f"<tr id='row-{n}'><td>{chance.choice(WORDS)}</td><td class='n'>{chance.randrange(1000)}</td>"
        f"<td>{iso(START - chance.randrange(10**6))}</td></tr>"
        for n in range(15)
    )
    return Reply(
        f"<html><body><nav><a href='/logout'>user {request.user}</a></nav><table><tbody>{rows}</tbody></table>"
        f"<p class='count'>{1500 + request.item} results</p><select name='per'><option value='15' selected>15</option>"
        f"<option value='50'>50</option></select><pre>total  {request.item}\n  of {request.item + 3}</pre>"
        "</body></html>",
        headers={"content-type": "text/html; charset=utf-8", "x-content-type-options": "nosniff"},
    )


MODELLED: dict[str, Shape] = {
    "example articles": example_articles,
    "shop": shop_products,
    "forge": forge_repository,
    "forum": forum_topics,
    "feeds": feed_entries,
    "monitoring": monitoring_series,
    "wiki (HTML)": wiki_page,
    "admin (HTML)": admin_table,
}
