"""Text into tokens, as Lucene's analyzers cut it.

``standard`` follows the word boundaries of Unicode's UAX #29 as Lucene's StandardTokenizer does: ``flask.app`` and
``can't`` are one token, ``a-b`` is two, every Han character is one. SQLite then only sees tokens that are cut already.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

MAX_TOKEN = 255  # Lucene cuts longer words into pieces of this many characters
POSITION_GAP = 100  # between the values of an array, so that no phrase spans two of them


class Token(NamedTuple):
    text: str
    start: int
    end: int
    position: int
    kind: str = "word"


Analyzer = Callable[[str], list[Token]]


def analyzer(name: str) -> Analyzer | None:
    """The analyzer of this name, None when the engine has none."""
    return _ANALYZERS.get(name)


@cache
def _marks() -> str:
    """The combining marks of the scripts in use: they never end a word. Computed once, about 5 ms."""
    ranges = ((0x300, 0x1E00), (0x20D0, 0x2100), (0xA66F, 0xAC00), (0xFE00, 0xFE30))
    marks = [chr(c) for low, high in ranges for c in range(low, high) if unicodedata.category(chr(c)) in _MARKS]
    return re.escape("".join(marks)) + "\u00ad\u200d"


_MARKS = ("Mn", "Mc", "Me")
_HAN = "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = "\u3041-\u3096\u309d-\u309f"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_SOUTH_EAST = "\u0e00-\u0e4f\u0e80-\u0ecf\u1000-\u103f\u1780-\u17df"
_NO_LETTER = "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u215f\u2460-\u249b\u3220-\u33ff"
_EMOJI = "\u2600-\u27bf\U0001f300-\U0001faff"
_JOINERS = "_\u203f\u2040\u2054\ufe33\ufe34\ufe4d-\ufe4f\uff3f"
_MID_LETTER = ".':\u00b7\u0387\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a"
_MID_NUMBER = (
    ".',;\u037e\u0589\u060c\u060d\u2018\u2019\u2024\u2044\ufe10\ufe14\ufe50\ufe52\ufe54\uff07\uff0c\uff0e\uff1b"
)

_ASCII_WORD = re.compile(
    r"(?P<word>[A-Za-z0-9_](?:[A-Za-z0-9_]|(?<=[A-Za-z])[.':](?=[A-Za-z])|(?<=[0-9])[.',;](?=[0-9]))*)"
)


@cache
def _unicode_word() -> re.Pattern[str]:
    marks = _marks()
    foreign = _HAN + _HIRAGANA + _KATAKANA + _SOUTH_EAST + _NO_LETTER
    letter = rf"(?:(?![{foreign}])[^\W\d_][{marks}]*)"
    digit = rf"(?:\d[{marks}]*)"
    unit = rf"(?:{letter}|{digit}|[{_JOINERS}])"
    between_letters = rf"(?:(?<=[^\W\d_])|(?<=[{marks}]))[{_MID_LETTER}](?={letter})"
    between_digits = rf"(?<=\d)[{_MID_NUMBER}](?=\d)"
    return re.compile(
        rf"(?P<ideographic>[{_HAN}][{marks}]*)|(?P<hiragana>[{_HIRAGANA}][{marks}]*)"
        rf"|(?P<katakana>(?:[{_KATAKANA}][{marks}]*)+)|(?P<southeast_asian>(?:[{_SOUTH_EAST}][{marks}]*)+)"
        rf"|(?P<word>{unit}(?:{unit}|{between_letters}|{between_digits})*)"
        rf"|(?P<emoji>[{_EMOJI}][\ufe0f\U0001f3fb-\U0001f3ff]*(?:\u200d[{_EMOJI}][\ufe0f\U0001f3fb-\U0001f3ff]*)*)"
    )


def _standard(text: str) -> list[Token]:
    pattern = _ASCII_WORD if text.isascii() else _unicode_word()
    return _number(_standard_words(pattern, text))


def _standard_words(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int, str]]:
    for match in pattern.finditer(text):
        word = match.group()
        kind = match.lastgroup or "word"
        # A word of underscores alone is no word.
        if kind == "word" and not word.strip("_\u203f\u2040\u2054\uff3f"):
            continue
        yield _lower(word), match.start(), kind


def _whitespace(text: str) -> list[Token]:
    return _number((match.group(), match.start(), "word") for match in _NO_SPACE.finditer(text))


_NO_SPACE = re.compile(r"\S+")


def _number(words: Iterator[tuple[str, int, str]]) -> list[Token]:
    tokens: list[Token] = []
    for word, start, kind in words:
        for offset in range(0, len(word), MAX_TOKEN):
            piece = word[offset : offset + MAX_TOKEN]
            begin = start + offset
            tokens.append(Token(piece, begin, begin + len(piece), len(tokens), kind))
    return tokens


def _lower(word: str) -> str:
    """Lower case character by character, as Java does it, so that a word keeps its length (``İ`` is ``i``)."""
    if word.isascii():
        return word.lower()
    return "".join(character.lower()[:1] for character in word)


_ANALYZERS: dict[str, Analyzer] = {
    "standard": _standard,
    "whitespace": _whitespace,
}

# FTS5 cuts at everything ASCII that is no letter or digit, and folds ASCII to lower case. Tokens are cut already, so
# those characters go to it as private-use ones, one for one: prefixes stay prefixes, and a quote can't end a string.
_TO_FTS = {code: 0xE000 + code for code in range(128) if not (chr(code).islower() or chr(code).isdigit())}
_GAP = "\ue0ff"


def fts_token(token: str) -> str:
    """How this token is written in the FTS5 table and in a MATCH string."""
    return token.translate(_TO_FTS)


def fts_text(values: list[str], analyze: Analyzer) -> str:
    """All tokens of a field for its FTS5 row, with a token between two values that no query ever asks for."""
    parts = (" ".join(fts_token(token.text) for token in analyze(value)) for value in values)
    return f" {_GAP} ".join(part for part in parts if part)
