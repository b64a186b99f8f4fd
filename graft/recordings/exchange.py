"""One request and what the legacy side said to it, as it is kept: text without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from graft.mirroring.redact import GONE

Pairs = tuple[tuple[str, str], ...]

NOT_SENT = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "expect",
        "accept-encoding",
        "if-none-match",
        "if-modified-since",
        "if-match",
        "if-unmodified-since",
        "if-range",
        "x-request-id",
    }
)
"""Headers of the one connection, or of what the client had in its cache: another request has its own."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """``url`` is whole, ``http://host/path?query``; ``body`` and ``answer`` are None where there is none, or it is not
    text. ``route`` is the key of the legacy rule, ``at`` ISO 8601, ``cut`` whether the request's body is not whole."""

    method: str
    url: str
    headers: Pairs
    body: str | None
    status: int
    answer_headers: Pairs
    answer: str | None
    at: str
    milliseconds: float = 0.0
    route: str | None = None
    cut: bool = False

    @property
    def target(self) -> str:
        """The path with its query, as the request line has it."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc or "localhost"

    @property
    def path(self) -> str:
        return urlsplit(self.url).path or "/"

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each.lower() == name), None)

    @property
    def answer_type(self) -> str:
        """The media type of the answer, ``application/json``."""
        found = next((value for name, value in self.answer_headers if name.lower() == "content-type"), "")
        return found.partition(";")[0].strip().lower()

    @property
    def input(self) -> tuple[str, str, str | None, int]:
        """What tells it from others: the same input with the same status again says nothing new."""
        return self.method, self.url, self.body, self.status

    @property
    def unaskable(self) -> str | None:
        """Why it can't be asked again: what was struck is part of the request itself."""
        if GONE in self.url:
            return "a secret was struck from its URL"
        if self.body is not None and GONE in self.body:
            return "a secret was struck from its body"
        return "its body was not kept whole" if self.cut else None

    @property
    def struck_headers(self) -> tuple[str, ...]:
        """The headers, and ``cookie NAME``, whose values were struck: with them it may have been asked by a user."""
        struck: list[str] = []
        for name, value in self.headers:
            low = name.lower()
            if low == "cookie":
                pairs = (pair.strip().partition("=") for pair in value.split(";"))
                struck += [f"cookie {pair[0]}" for pair in pairs if pair[2].startswith(GONE)]
            elif GONE in value:
                struck.append(low)
        return tuple(struck)

    @property
    def kept_headers(self) -> Pairs:
        """The headers to ask with again: those with a struck value are left out, but for cookies that were kept."""
        kept: list[tuple[str, str]] = []
        for name, value in self.headers:
            low = name.lower()
            if low in NOT_SENT or low == "host" or low.startswith(":"):
                continue
            if low == "cookie":
                value = "; ".join(pair.strip() for pair in value.split(";") if GONE not in pair)
            if value and GONE not in value:
                kept.append((low, value))
        return tuple(kept)
