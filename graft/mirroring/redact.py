"""Redact: no secret leaves in a stored difference.

A value is taken out by the name it stands under (``secret_names``) and by its own shape (``secret_shapes``), wherever
values are: paths, queries, headers, cookies, forms, multipart, JSON at any depth and its keys, HTML and XML, and texts
such as tracebacks. In its place stands ``[redacted:3f9a2c41]``: a keyed hash, by which equal values stay recognisable
and nobody without the key can try values out.

All of it takes linear time, over no more than what is stored of a text and a margin, which no secret is longer than
that would show only by its end: so cutting first leaves no part of one. What can't be looked at is left out. Pure, any
thread; a whole difference takes some milliseconds, so it is for the thread of ``slices``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from typing import Any
from urllib.parse import quote_plus, unquote, unquote_plus

from graft.mirroring.answers import Headers
from graft.mirroring.neighbours import NAMES, VALUES, Neighbours, may_be_token, name_beside
from graft.mirroring.paths import Path
from graft.mirroring.redact_markup import redact_markup
from graft.mirroring.secret_names import Family, announces_token, family_of, words_of
from graft.mirroring.secret_shapes import is_card, is_opaque, number_at, redact_shapes
from graft.mirroring.slices import checkpoint

GONE = "[redacted"
"""How everything begins that stands in the place of a secret."""

SHOWN = 8 * 1024
"""Characters of one text that are stored."""

MARGIN = 512
"""Characters behind them that are looked at, and left out: of a secret that is cut there, its part would not show."""

LARGEST_TEXT = SHOWN + MARGIN

CUT = "... (cut)"
"""How a text ends that goes on in reality."""

MOST_HEADERS, LARGEST_HEADER, LARGEST_HEADERS = 100, 2 * 1024, 16 * 1024
"""Headers of a message, characters of one, and of all of them, that are kept."""

_MOST_SEGMENTS = 100
_MOST_PAIRS = 500
"""Names with values in one text that are looked at; it is cut behind them."""

_MOST_FIELDS = 2000
"""Fields of JSON in which secrets are looked for that something else may echo."""

LARGEST_JSON = 128 * 1024
"""Bytes of JSON that are taken apart; longer JSON is redacted as the text that it also is."""

_TELLING = 6
"""Characters from which a value is looked for elsewhere: shorter ones are in everything."""

_MOST_ECHOES = 100
_DEEPEST_URL = 3
_BESIDE = 80
"""Characters between a name and its value, where each has a field of its own."""

_HARMLESS = frozenset({"true", "false", "null", "none", "undefined", ""})
_SEPARATOR = re.compile(
    r"""(?<=[\w\u0900-\u109f.-])(?P<close>[\\"'\]]{0,4})(?:[ \t]{0,3}(?:=>|[=:])[ \t]{0,3}|[ \t]{1,3}(?=\\{0,3}["']))"""
)
_VALUE = re.compile(r"""\\{0,3}"[^"\n]*+"?|\\{0,3}'[^'\n]*+'?|[^\s"'&;,<>)}\]]++""")
_LIST = re.compile(r"""\[[^\n\]]{0,2000}+\]?|\((?=["'])[^\n)]{0,2000}+\)?""")
_TO_THE_END_OF_THE_LINE = re.compile(r"""[^"'\n\r}]++""")
_BEFORE = re.compile(r"[\w\u0900-\u109f.-]++(?: [\w\u0900-\u109f.-]++){0,2}")
"""Up to three words in front of a separator, read from behind: a search with ``$`` would begin at each letter."""

_IN_PATH = re.compile(r"""(?<=/)([^\s/"'<>?#&]{2,100}+)/([^\s"'<>?#]{1,500}+)""")
PROCESS_KEY = secrets.token_bytes(16)
"""For those who have none of the gateway's."""


class Redactor:
    """Takes out secrets, and the values of ``more`` names. Immutable: one is shared by all threads."""

    def __init__(self, more: Iterable[str] = (), key: bytes = PROCESS_KEY) -> None:
        self._more = frozenset(filter(None, ("".join(words_of(name)) for name in more)))
        self._key = key

    @staticmethod
    @lru_cache(maxsize=100)
    def of(more: tuple[str, ...], key: bytes = PROCESS_KEY) -> Redactor:
        return Redactor(more, key)

    def strike(self, value: str) -> str:
        """What stands in the place of ``value``: the same for equal values, with this key."""
        if value.startswith(GONE):
            return value
        mark = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._key, digest_size=4).hexdigest()
        return f"{GONE}:{mark}]"

    def family(self, name: str) -> Family:
        if self._more and any(own in "".join(words_of(name)) for own in self._more):
            return Family.SECRET
        return family_of(name[:200])

    def is_secret(self, name: str) -> bool:
        return self.family(name) is Family.SECRET

    def named(self, name: str, value: str) -> str:
        """A text that stands under a name."""
        family = self.family(name)
        plain = value.strip()
        if plain.lower() in _HARMLESS or plain.startswith(GONE):
            return value
        if family is Family.SECRET:
            return self.strike(plain)
        if family is Family.NUMBER and sum(map(str.isdigit, plain[:100])) >= 3:
            return self.strike(plain)
        if family is Family.OPAQUE and is_opaque(plain):
            return self.strike(plain)
        return self.text(value)

    def headers(self, headers: Headers) -> list[list[str]]:
        """As pairs of text. Cookies keep their names, so that a missing one can be seen."""
        kept: list[list[str]] = []
        room = LARGEST_HEADERS
        for name, value in headers:
            if room <= 0 or len(kept) >= MOST_HEADERS:
                return [*kept, ["...", f"and {len(headers) - len(kept)} more"]]
            shown = self.header(name[:MARGIN].decode("latin-1"), value)
            kept.append([redact_shapes(name[:MARGIN].decode("latin-1"), self.strike), shown])
            room -= len(name) + len(shown)
        return kept

    def header(self, name: str, value: bytes) -> str:
        text = value.decode("latin-1")
        if self.is_secret(name) and name.lower() not in ("cookie", "set-cookie"):
            return text if text.lower() in _HARMLESS else self.strike(text)  # access-control-allow-credentials: true
        return _cut(text, LARGEST_HEADER, partial(self._header, name))

    def _header(self, name: str, text: str) -> str:
        low = name.lower()
        if low == "cookie":
            return "; ".join(self._cookie(pair) for pair in text.split(";"))
        if low == "set-cookie":
            first, mark, attributes = text.partition(";")
            return self._cookie(first) + mark + attributes
        if low in ("location", "referer", "origin", "link", "content-location", "refresh"):
            return self.url(text)
        return self.named(name, text)

    def _cookie(self, pair: str) -> str:
        name, mark, value = pair.strip().partition("=")
        return f"{name}={self.strike(value)}" if mark and value else name + mark

    def url(self, url: str, depth: int = 0) -> str:
        """A URL, or a path, with its query string and fragment."""
        return _cut(url, SHOWN, partial(self._url, depth=depth))

    def _url(self, url: str, depth: int) -> str:
        start, mark, query = url.partition("?")
        fragment = ""
        if mark:
            query, hash_mark, fragment = query.partition("#")
        else:
            start, hash_mark, fragment = start.partition("#")
        fragment = self.query(fragment, depth) if "=" in fragment else self.text(fragment)
        return f"{self.path(start)}{mark}{self.query(query, depth)}{hash_mark}{fragment}"

    def path(self, path: str) -> str:
        """A path: tokens behind a segment that announces them, and everything that has the shape of a secret."""
        parts = path.split("/", _MOST_SEGMENTS)
        if len(parts) > _MOST_SEGMENTS:
            parts[_MOST_SEGMENTS] = "..."
        announced = False
        for index, part in enumerate(parts):
            checkpoint()
            plain = unquote(part)
            if announced and _is_token(plain):
                parts[index] = self.strike(plain)
            else:
                shown = redact_shapes(plain, self.strike)
                parts[index] = part if shown == plain else shown
                announced = announced or announces_token(plain)
        joined = "/".join(parts)
        return redact_shapes(joined, self.strike) if "://" in joined or "@" in joined else joined

    def query(self, query: str, depth: int = 0) -> str:
        """A query string or a form. One that has nothing to hide stays as it is, to the letter."""
        return _cut(query, SHOWN, partial(self._query, depth=depth))

    def _query(self, query: str, depth: int) -> str:
        pairs = _fields(query)
        shown = [(name, self._parameter(name, value, depth)) for name, value in pairs]
        names = [redact_shapes(name, self.strike) for name, _ in pairs]
        if shown == pairs and all(new == name for new, (name, _) in zip(names, pairs, strict=True)):
            return query if pairs or not query else self.text(query)
        return "&".join(
            f"{quote_plus(name, safe='[]:')}={quote_plus(value, safe='[]:/?=&@')}"
            for name, (_, value) in zip(names, shown, strict=True)
        )

    def _parameter(self, name: str, value: str, depth: int) -> str:
        checkpoint()
        if depth < _DEEPEST_URL and value.startswith(("/", "http://", "https://")) and not self.is_secret(name):
            return self.url(value, depth + 1)
        return self.named(name, value)

    def body(self, body: bytes, content_type: str, neighbours: Neighbours | None = None) -> str:
        """A body as text. What is neither text nor known is only described. ``neighbours`` are those of its values and
        of other bodies like it; without, those of its own."""
        kind = content_type.split(";", maxsplit=1)[0].strip().lower()
        if (kind == "application/json" or kind.endswith("+json")) and len(body) <= LARGEST_JSON:
            with suppress(ValueError, RecursionError):
                tree = json.loads(body)
                room = _Room(SHOWN, neighbours or Neighbours(tree))
                shown = json.dumps(self.value(tree, room=room), ensure_ascii=False)
                return shown + CUT if room.left <= 0 else shown
        try:
            body.decode()
        except UnicodeDecodeError:
            if kind != "multipart/form-data":
                return f"{len(body)} bytes of {kind or 'unknown type'}"
        text = body[: 4 * LARGEST_TEXT + 4].decode("utf-8", "replace")
        checkpoint()
        if kind == "application/x-www-form-urlencoded":
            return self.query(text)
        if kind == "multipart/form-data":
            return self._multipart(body, content_type)
        return self._markup(text) if "html" in kind or "xml" in kind else self.text(text)

    def _markup(self, text: str) -> str:
        return _cut(text, SHOWN, partial(redact_markup, texts=self))

    def _multipart(self, body: bytes, content_type: str) -> str:
        boundary = content_type.partition("boundary=")[2].split(";")[0].strip(' "').encode("latin-1", "replace")
        if not boundary:
            return f"{len(body)} bytes of multipart/form-data"
        return "\n".join(self._part(part) for part in body.split(b"--" + boundary)[1:50] if part.strip(b"\r\n-"))

    def _part(self, part: bytes) -> str:
        head, _, content = part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        headers = head.decode("utf-8", "replace")[:1000]
        name = headers.partition('name="')[2].partition('"')[0]
        content = content.removesuffix(b"\r\n")
        if "filename=" in headers:
            return f"{name}: a file of {len(content)} bytes"
        return f"{self.text(name)}: {self.named(name, content.decode('utf-8', 'replace'))}"

    def value(self, value: Any, under: str = "", room: _Room | None = None, place: tuple[str, ...] = ()) -> Any:
        """JSON that stands under a name; what is behind the end of ``room`` is left out, fields and items as a whole.
        Raises RecursionError when it is nested too deeply."""
        room = room or _Room()
        checkpoint()
        if isinstance(value, dict):
            shown = {}
            for name, item in value.items():
                if room.left <= 0:
                    break
                called = redact_shapes(name[:LARGEST_TEXT], self.strike)
                room.left -= len(called) + 6
                beside = name_beside(value, name)
                inner = name if beside is None or self.family(beside) is Family.NONE else beside
                shown[called] = self.value(item, inner if not self.is_secret(under) else under, room, (*place, name))
            return shown
        if isinstance(value, list):
            if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str) and self.is_secret(value[0]):
                name, item = value  # a header, or a field of a form, as a pair
                room.left -= len(name)
                return [name, self.value(item, name, room, place)]
            items = []
            for item in value:
                if room.left <= 0:
                    break
                room.left -= 2
                items.append(self.value(item, under, room, place))
            return items
        redacted = self._text_at(place, under, value, room) if isinstance(value, str) else self._number(under, value)
        room.left -= len(redacted) if isinstance(redacted, str) else 8
        return redacted

    def _text_at(self, place: tuple[str, ...], under: str, value: str, room: _Room) -> str:
        if room.neighbours.are_tokens(place) and may_be_token(value):
            return self.strike(value)
        return self.named(under, value)

    def _number(self, under: str, value: Any) -> Any:
        if isinstance(value, bool) or value is None:
            return value
        family = self.family(under)
        if family is Family.SECRET and not under.lower().endswith("s"):
            return self.strike(str(value))
        if isinstance(value, int):
            if family is Family.NUMBER and value >= 100:
                return self.strike(str(value))
            if family is Family.OPAQUE and 10_000 <= value < 10**9:
                return self.strike(str(value))
            if 10**12 <= value < 10**19 and is_card(str(value)):
                return self.strike(str(value))
        return value

    def at(self, path: Path, value: str | None, neighbours: Neighbours | None = None) -> str | None:
        """The value of one difference; ``neighbours`` are those in the answers."""
        if value is None:
            return None
        if path[0] == "header":
            return self.header(str(path[1]), value.encode("latin-1", "replace"))
        names = [step for step in path[1:] if isinstance(step, str)]
        if any(self.is_secret(step) for step in names):
            return self.strike(value)
        if neighbours is not None:
            for beside in neighbours.names_of(path):
                if self.family(beside) is not Family.NONE:
                    return self.named(beside, value)
            if neighbours.are_tokens(tuple(map(str, names))) and may_be_token(value):
                return self.strike(value)
        name = names[-1] if names else ""
        if name in ("@value", "@content"):
            return self.strike(value)
        if name in ("@href", "@src", "@action"):
            return self.url(value)
        return self.named(name.removeprefix("@"), value)

    def name(self, name: str) -> str:
        """The name of a place or of a group of differences: data can be its keys."""
        return redact_shapes(name, self.strike)

    def text(self, text: str) -> str:
        """Free text such as a traceback: ``password='...'``, ``token: ...``, ``/reset/...``, and every shape."""
        return text if len(text) < 4 else _cut(text, SHOWN, self._text)

    def _text(self, text: str) -> str:
        checkpoint()
        text = _IN_PATH.sub(self._behind, text) if "/" in text else text
        return redact_shapes(self._pairs(text), self.strike)

    def _behind(self, match: re.Match[str]) -> str:
        if not announces_token(match[1]):
            return match[0]
        rest = "/".join(self.strike(part) if _is_token(part) else part for part in match[2].split("/"))
        return f"{match[1]}/{rest}"

    def _pairs(self, text: str) -> str:
        """Names with values behind them. Each separator is looked at once, each value is passed over once."""
        shown: list[str] = []
        end = 0
        beside: tuple[int, str] | None = None  # where a neighbour has said what the value behind it is called
        for number, found in enumerate(_SEPARATOR.finditer(text)):
            checkpoint()
            if number >= _MOST_PAIRS:
                return "".join([*shown, text[end : max(end, found.start())], CUT])
            if found.start() < end:
                continue
            before = text[max(0, found.start() - 60, end) : found.start()]
            words = _BEFORE.match(before[::-1])
            if words is None:
                continue
            called, family = self._called(words[0][::-1])
            if family is Family.NONE and called.lower() in NAMES:
                value = self._value_at(text, found.end(), called)
                beside = (found.end() + len(value), value.strip("\\\"'")) if value is not None else None
                continue
            if family is Family.NONE and beside is not None and called.lower() in VALUES:
                if found.start() - beside[0] < _BESIDE:
                    called, family = self._called(beside[1])
                beside = None
            if family is Family.NONE:
                continue
            value = self._value_at(text, found.end(), called)
            if value is None:
                continue
            inner = value.strip("\\\"'")
            struck = self.named(called, inner) if family is not Family.SECRET else self.strike(inner)
            if inner and struck != inner and inner.lower() not in _HARMLESS:
                shown += text[end : found.end()], value.replace(inner, struck, 1)
                end = found.end() + len(value)
        return "".join([*shown, text[end:]]) if shown else text

    def _called(self, words: str) -> tuple[str, Family]:
        """The last one, two or three words in front of a separator, and what they say."""
        parts = words.split(" ")
        for count in range(1, len(parts) + 1):
            called = " ".join(parts[-count:])
            family = self.family(called)
            if family is not Family.NONE:
                return called, family
        return words, Family.NONE

    def _value_at(self, text: str, start: int, called: str) -> str | None:
        whole_line = called.lower() in ("cookie", "set-cookie", "authorization", "proxy-authorization")
        if listed := _LIST.match(text, start):
            return None if GONE in listed[0] else listed[0]
        quoted = text[start : start + 1] in ("'", '"', "\\")
        match = (_TO_THE_END_OF_THE_LINE if whole_line and not quoted else _VALUE).match(text, start)
        if match is None or match[0].startswith(GONE):
            return None
        number = None if quoted else number_at(text, start)
        return number if number is not None and len(number) > len(match[0]) else match[0]

    def secrets(self, headers: Headers, query: str, body: bytes) -> frozenset[str]:
        """The secret values of a request or an answer, to be looked for elsewhere: an echo does not name them."""
        found: set[str] = set()
        for name, value in headers[:MOST_HEADERS]:
            checkpoint()
            text = value.decode("latin-1")[:LARGEST_TEXT]
            if name.lower() == b"cookie":
                found |= {pair.partition("=")[2].strip(' "') for pair in text.split(";")}
            elif name.lower() == b"set-cookie":
                found.add(text.split(";")[0].partition("=")[2].strip(' "'))
            elif self.is_secret(name.decode("latin-1")):
                found.add(text.split(" ")[-1])
        small = body if len(body) <= LARGEST_JSON else b""
        for form in (query[:LARGEST_TEXT], small[:LARGEST_TEXT].decode("utf-8", "replace")):
            found |= {_unquoted(value) for name, value in _pairs_of(form) if self.is_secret(name)}
        with suppress(ValueError, RecursionError):
            found |= self._in_json(json.loads(small))
        telling = sorted((value for value in found if len(value) >= _TELLING), key=len, reverse=True)
        return frozenset(telling[:_MOST_ECHOES])

    def _in_json(self, value: Any) -> set[str]:
        """Of the first fields, level by level: a secret is no further down than a page of other things."""
        found: set[str] = set()
        open_ones, fields = deque([value]), 0
        while open_ones and fields < _MOST_FIELDS:
            checkpoint()
            each = open_ones.popleft()
            if isinstance(each, list):
                open_ones.extend(item for item in each[:_MOST_FIELDS] if isinstance(item, dict | list))
                fields += 1
            elif isinstance(each, dict):
                for name, item in islice(each.items(), _MOST_FIELDS):
                    fields += 1
                    checkpoint()
                    if isinstance(item, dict | list):
                        open_ones.append(item)
                    elif isinstance(item, str) and self.is_secret(name_beside(each, name) or name):
                        found.add(item)
        return found


class ListeningRedactor(Redactor):
    """One that knows afterwards what it has struck out. (one thread)"""

    def __init__(self, more: Iterable[str] = (), key: bytes = PROCESS_KEY) -> None:
        super().__init__(more, key)
        self.struck: set[str] = set()

    def strike(self, value: str) -> str:
        if not value.startswith(GONE):
            self.struck.add(value)
        return super().strike(value)


class _Room:
    """Characters that are left for a text made of parts."""

    __slots__ = ("left", "neighbours")

    def __init__(self, left: float = math.inf, neighbours: Neighbours | None = None) -> None:
        self.left = left
        self.neighbours = neighbours or Neighbours()


def _cut(text: str, most: int, redacted: Callable[[str], str]) -> str:
    """``text`` redacted, at most so many characters. Of one that is longer the last ones that were looked at go: there
    may be half a secret among them, unless they are one that was known."""
    if len(text) <= most:
        return redacted(text)
    shown = redacted(text[: most + MARGIN])
    if not _ENDS_STRUCK(shown):
        shown = shown[: max(0, len(shown) - MARGIN)]
    return shown[:most] + CUT


_ENDS_STRUCK = re.compile(rf".*{re.escape(GONE)}:[0-9a-f]{{8}}\]$", re.DOTALL).match


def _fields(form: str) -> list[tuple[str, str]]:
    """The names and values of a query string or a form."""
    return [(name, _unquoted(value)) for name, value in _pairs_of(form)]


def _pairs_of(form: str) -> Iterator[tuple[str, str]]:
    """The same, with the values as they are written."""
    for pair in form.split("&"):
        checkpoint()
        if pair:
            name, _, value = pair.partition("=")
            yield _unquoted(name), value


def _unquoted(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _is_token(segment: str) -> bool:
    """Is it a token, where one may stand? ``done`` and ``17`` are none, ``MQ`` (a number in base64) is one."""
    if not segment or segment.startswith(GONE) or (segment.isdigit() and len(segment) < 5):
        return False
    return not (segment.isalpha() and (segment.islower() or segment.istitle()))
