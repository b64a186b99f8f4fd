"""Text of strangers on a terminal and in a log: nothing in it steers a terminal, or looks like a line of its own."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    r"""``text`` with every character that does not print as its escape: ``\n``, ``\x1b``, ``\u202e``.

    Those in ``keep`` stay. Backslashes stay too: what was escaped can't be told from what was sent like that, which
    harms nobody.
    """
    if text.isprintable():  # nearly always, and quick
        return text
    return "".join(one if one.isprintable() or one in keep else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
