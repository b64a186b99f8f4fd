"""What a question is about, and what a follow-up ("and in Flask?") takes over from the one before it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

WORD = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
FOLLOWING = re.compile(r"\s*(and|or|but|also|then|what about|how about|same)\b", re.IGNORECASE)
POINTING = frozenset({"it", "its", "that", "this", "them", "those", "these", "there", "same"})
_STOP_WORDS = """
    a about all also am an and any are as at be been but by can could did do does done else for from get give
    had has have how i if in into is it its just like make me my need of on one or our please same shall
    should show so some tell than that the their them then there these they this those to too use used using
    want was way we were what when where which who why will with work works would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Topic:
    """``words`` to look for, and the ``packages`` that were named; both in lower case."""

    words: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @classmethod
    def of(cls, question: str, packages: Collection[str], before: Topic | None = None) -> Topic:
        """The topic of ``question``; ``packages`` are the names of all that is documented."""
        known = {name.lower() for name in packages}
        told = [word.lower() for word in WORD.findall(question)]
        named = tuple(dict.fromkeys(package for word in told if (package := word.partition(".")[0]) in known))
        words = tuple(dict.fromkeys(word for word in told if word not in STOP_WORDS and word not in known))
        if before is None or not _follows(question, told, words):
            return cls(words, named)
        taken = before.words if not named else tuple(_without(before.packages, word) for word in before.words)
        return cls(tuple(dict.fromkeys((*taken, *words))), named or before.packages)

    @property
    def query(self) -> str:
        return " ".join(self.words or self.packages)


def _follows(question: str, told: list[str], words: tuple[str, ...]) -> bool:
    if not words or FOLLOWING.match(question):
        return True
    return len(words) < 3 and not POINTING.isdisjoint(told)


def _without(packages: Collection[str], word: str) -> str:
    """``json.loads`` asked of another package is ``loads``."""
    package, _, rest = word.partition(".")
    return rest if rest and package in packages else word
