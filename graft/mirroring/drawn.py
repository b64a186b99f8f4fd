"""Drawn: was a text drawn at random, as a token, a nonce or a code is, or did somebody write it?

A likelihood ratio: how much more probable is the text as letters that were drawn one by one from an alphabet (16, 36 or
64 characters, whichever it is written in) than as something that people and programs name things? The second is a
small model: how often a letter follows another one in words (of eleven languages, and of names in source code), and
how often a letter, a capital, a digit and a separator follow each other in names, slugs, dates and numbers of orders.
A threshold on the entropy can't do it: sixteen random hexadecimal digits have less of it than many words.

Measured over 10,000 drawn values each: of 12 characters and more, one in a thousand is taken for a name (those
of digits alone), and of 100,000 names of variables and files one in a hundred for a token. Pure functions, any thread.
"""

from __future__ import annotations

import math

_LOOKED_AT = 32
"""Characters of a text: what they say is certain by then."""

LONGEST = 4096

_LETTERS = {
    "a": "94449859597243959232678869",
    "b": "27672888349188379447399949",
    "c": "39682992494489179462499979",
    "d": "26640689299577379546599979",
    "e": "47436569798452767223967479",
    "f": "38773499099488289365499979",
    "g": "48780854399574479346499989",
    "h": "18771999398667289453699979",
    "i": "56444659988441369533969796",
    "j": "17750789496886369929397998",
    "k": "38770868298575379534486989",
    "l": "28741889299388279854489959",
    "m": "15871999399557329947599989",
    "n": "39333539497786479832659989",
    "o": "65449769696341549244465899",
    "p": "29762996499399249253489959",
    "q": "97879799999299989556089999",
    "r": "28551869297656279444679959",
    "s": "49481785396678448831497969",
    "t": "28571794299778369345598949",
    "u": "55563769499332839232999999",
    "v": "18780899299887489767998989",
    "w": "27772894198683379247999979",
    "x": "47362697399748729761999759",
    "y": "46564669599343519623886998",
    "z": "27770979298766489756597956",
    "^": "45344456487545548434566699",
}
"""Of each letter (``^``: of none), how seldom each of a to z stands behind it: half nats, less two."""

_CLASSES = {
    "^^": (0.5, 1.4, 2.0, 3.4),
    "^L": (0.1, 5.7, 2.8, 5.1),
    "^U": (0.8, 0.7, 2.9, 5.6),
    "^D": (5.6, 6.0, 0.0, 4.5),
    "^S": (0.3, 1.8, 4.6, 2.8),
    "LL": (0.1, 4.1, 4.5, 2.2),
    "LU": (0.0, 3.4, 4.6, 5.6),
    "LD": (2.6, 4.0, 0.5, 1.3),
    "LS": (0.3, 4.9, 1.5, 5.6),
    "UL": (0.0, 4.0, 6.2, 5.7),
    "UU": (4.4, 0.3, 2.4, 2.1),
    "UD": (6.0, 4.3, 0.0, 5.1),
    "US": (2.4, 0.6, 1.0, 5.2),
    "DL": (0.7, 5.1, 0.8, 3.6),
    "DU": (4.2, 3.3, 0.1, 5.4),
    "DD": (3.1, 2.4, 0.3, 2.0),
    "DS": (0.9, 5.1, 0.6, 6.1),
    "SL": (0.0, 7.7, 4.5, 5.7),
    "SU": (1.9, 0.2, 4.2, 4.2),
    "SD": (5.1, 6.7, 0.2, 1.8),
    "SS": (0.6, 1.6, 1.9, 2.1),
}
"""Of each two classes of characters (Lower, Upper, Digit, Separator; ``^`` is the beginning), how seldom each of the
four stands behind them: nats."""

_LOWER, _UPPER, _DIGITS = map(frozenset, ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"))
_SEPARATORS = frozenset("-_+/=~.")
_HEXADECIMAL = _DIGITS | frozenset("abcdef"), _DIGITS | frozenset("ABCDEF")
_LETTER_COSTS = {
    (before, letter): (int(digit) + 2) / 2
    for before, row in _LETTERS.items()
    for letter, digit in zip(sorted(_LOWER), row, strict=True)
}
_CLASS_COSTS = {before + kind: cost for before, row in _CLASSES.items() for kind, cost in zip("LUDS", row, strict=True)}
_DIGIT_COST, _SEPARATOR_COST = math.log(10), 1.0

_KIND = {
    letter: kind
    for kind, letters in zip("LUDS", (_LOWER, _UPPER, _DIGITS, _SEPARATORS), strict=True)
    for letter in letters
}


def evidence(text: str) -> float:
    """The logarithm of how much more probable the text is as a drawn one than as a name; -inf for what is neither."""
    text = text[:_LOOKED_AT]
    used = set(text)
    if not used <= _KIND.keys():
        return -math.inf
    before, letter, name = "^^", "^", 0.0
    for each in text:
        kind = _KIND[each]
        name += _CLASS_COSTS[before + kind]
        if kind in "LU":
            if kind == "U" and before[1] == "L":  # a new word begins: camelCase
                letter = "^"
            low = each.lower()
            name += _LETTER_COSTS[letter, low]
            letter = low
        else:
            letter = "^"
            name += _DIGIT_COST if kind == "D" else _SEPARATOR_COST
        before = before[1] + kind
    return name - len(text) * math.log(_size_of_alphabet(used))


def _size_of_alphabet(used: set[str]) -> int:
    plain = used - _SEPARATORS
    if any(plain <= digits for digits in _HEXADECIMAL):
        return 16
    return 36 if plain.isdisjoint(_LOWER) or plain.isdisjoint(_UPPER) else 64


def is_drawn(text: str) -> bool:
    """Does a text that stands alone look drawn? At least 11 characters, or 12 in one case."""
    if not 11 <= len(text) <= LONGEST or not any(map(str.isalpha, text)):
        return False
    if _is_of_one_case(text):
        if len(text) < 12:
            return False
        if not any(map(str.isdigit, text)):  # a word of a language that the model does not know
            return evidence(text) > (6.0 if len(text) < 16 else 3.0)
    return evidence(text) > (0.0 if len(text) > 11 else -0.5)


def are_drawn(one: str, other: str) -> bool:
    """Do two texts at the same place look drawn from the same alphabet? Two tell more than one: at least 6 characters.

    The lengths are about the same. A capital letter in one and small ones in the other are two alphabets."""
    least, most = sorted((len(one), len(other)))
    if least < 6 or most > LONGEST or most - least > 2 + least // 10 or one == other:
        return False
    if not are_of_one_alphabet(one, other):
        return False
    here, there = evidence(one), evidence(other)
    wanted = 2.0 if most >= 16 or any(map(_is_mixed, (one, other))) else 12.0
    return min(here, there) > -7.0 and here + there > wanted


def are_of_one_alphabet(one: str, other: str) -> bool:
    """May both have been drawn from the same letters?"""
    here, there = set(one), set(other)
    cases = _cases(here), _cases(there)
    if all(cases) and cases[0].isdisjoint(cases[1]):
        return False
    hexadecimal = [any(used - _SEPARATORS <= digits for digits in _HEXADECIMAL) for used in (here, there)]
    if all(hexadecimal):
        return here & _SEPARATORS == there & _SEPARATORS
    return not any(hexadecimal) or min(len(one), len(other)) < 12


def _cases(used: set[str]) -> frozenset[str]:
    return frozenset(_KIND[each] for each in used if _KIND.get(each, "D") in "LU")


def _is_mixed(text: str) -> bool:
    """Letters and digits, or capitals and small letters in the middle of it."""
    return any(map(str.isalpha, text)) and (any(map(str.isdigit, text)) or not _is_of_one_case(text[1:]))


def _is_of_one_case(text: str) -> bool:
    used = set(text)
    return used.isdisjoint(_LOWER) or used.isdisjoint(_UPPER)
