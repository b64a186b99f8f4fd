"""Names of secrets: what a header, parameter, field, cookie or attribute is called whose value must not be stored.

A name is taken apart into words (``newPassword``, ``new-password`` and ``NEW_PASSWORD`` are the same two), without
accents. The words of many languages are known, as people write them in field names. What a name says about its
value is one of four things (``Family``); a name that counts or describes (``tokens_used``, ``password_policy``) says
nothing. Pure functions, any thread.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from pathlib import Path

LONGEST_NAME = 100
"""Characters of a name that are looked at."""


class Family(Enum):
    """What a name says about the value under it."""

    NONE = 0
    SECRET = 1
    """any text is a secret"""
    NUMBER = 2
    """a secret when it has digits: telephone, card and social security numbers, PINs"""
    OPAQUE = 3
    """a secret when it is no word: ``code``, ``state``, ``sig``"""


def _read_lists() -> dict[str, frozenset[str]]:
    """The words of secret_names.txt by their heading."""
    lists: dict[str, set[str]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            words = lists.setdefault(line.strip("[]"), set())
        elif line and not line.startswith("#"):
            words.update(line.split())
    return {heading: frozenset(words) for heading, words in lists.items()}


_LISTS = _read_lists()
_SUBSTRINGS, _WORDS = _LISTS["secret"], _LISTS["secret word"]
_NUMBER_SUBSTRINGS, _NUMBER_WORDS = _LISTS["number"], _LISTS["number word"]
_PLURALS = {"tokens": "token", "secrets": "secret", "passwords": "password", "cookies": "cookie"}

_PARTS = re.compile(r"[A-Z]++(?![a-z])|[A-Z]?[a-z]++|\d++|(?:[^\W\d_A-Za-z]|[\u0900-\u109f])++|[A-Z]")
_PLAIN = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "ı": "i", "đ": "d", "й": "и"})


def words_of(name: str) -> list[str]:
    """``newPassword2`` -> new, password, 2; accents go: ``contraseña`` -> contrasena."""
    decomposed = unicodedata.normalize("NFKD", name[:LONGEST_NAME])
    plain = "".join(letter for letter in decomposed if ord(letter) not in _ACCENTS)
    composed = unicodedata.normalize("NFKC", plain)
    return [word.lower().translate(_PLAIN) for word in _PARTS.findall(composed.translate(_PLAIN))]


_ACCENTS = range(0x300, 0x370)
"""Combining marks of the Latin script: those of others belong to the letter."""


@lru_cache(maxsize=8192)
def family_of(name: str) -> Family:
    """What ``name`` says about its value. Cached; hostile names cost at most LONGEST_NAME characters each."""
    words = words_of(name)
    if not words or (len(words) > 1 and words[-1] in _LISTS["describes"]):
        return Family.NONE
    if words[-1] in _PLURALS:
        if words[0] in _LISTS["measures"]:
            return Family.NONE
        words[-1] = _PLURALS[words[-1]]
    core = _without_tails(words)
    joined = "".join(words)
    if _is_secret(core, joined):
        return Family.SECRET
    if any(part in joined for part in _NUMBER_SUBSTRINGS) or core[-1] in _NUMBER_WORDS:
        return Family.NUMBER
    return Family.OPAQUE if len(words) == 1 and joined in _LISTS["opaque"] else Family.NONE


def _is_secret(core: list[str], joined: str) -> bool:
    if core[-1] == "key":
        return not _LISTS["before key"].isdisjoint(core[:-1])
    if core in (["session"], ["auth"]) or core[-1] in _WORDS:
        return True
    if len(core) == 1 and joined.endswith("token"):
        return True
    return any(part in joined for part in _SUBSTRINGS) and "secretar" not in joined


def _without_tails(words: list[str]) -> list[str]:
    kept = list(words)
    while len(kept) > 1 and kept[-1] in _LISTS["behind"]:
        kept.pop()
    return kept


def announces_token(segment: str) -> bool:
    """Does a token stand behind this segment of a path, as behind ``password-reset``?"""
    return len(segment) <= LONGEST_NAME and not _LISTS["path"].isdisjoint(words_of(segment))
