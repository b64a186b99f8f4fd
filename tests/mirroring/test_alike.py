"""Up to where two bodies are the same: right at every boundary, and in few steps."""

from __future__ import annotations

import random

import pytest

from graft.mirroring.alike import alike_until
from graft.mirroring.natures import OTHER_TEXT, Kind, natures_of


@pytest.mark.parametrize("common", [0, 1, 63, 64, 65, 4095, 4096, 4097, 4160, 9000])
@pytest.mark.parametrize("rest", [("", ""), ("a", ""), ("", "b" * 5000), ("a" * 70, "b"), ("a", "bb" * 70)])
def test_two_texts_are_alike_up_to_the_first_character_that_differs(common: int, rest: tuple[str, str]) -> None:
    for before in ("x" * common, "é" * common, "".join(random.Random(common).choices("xyz", k=common))):
        one, other = (before + part for part in rest)
        assert alike_until(one, other) == alike_until(other, one) == common
        assert alike_until(one.encode(), other.encode()) == len(before.encode())


@pytest.mark.parametrize("size", [10, 150, 199, 200, 4100, 250_000])
def test_what_two_long_texts_differ_in_is_found_between_the_words_around_it(size: int) -> None:
    before, after = "word " * (size // 10), " word" * (size // 10)

    def kinds(native: str, legacy: str) -> list[Kind]:
        return [each.kind for each in natures_of(f"{before}{native}{after}", f"{before}{legacy}{after}")]

    assert kinds("took 12 ms", "took 17 ms") == [Kind.NUMBER]
    assert kinds("2024-05-01T10:00:01Z", "2024-05-01T10:00:11Z") == [Kind.TIME]
    assert kinds("Straße", "STRASSE") == [Kind.FORMAT]
    assert kinds("one  two", "one two") == [Kind.FORMAT]
    assert kinds("one two", "one tow") == [Kind.TEXT]
    assert kinds("f3a9c1d27b604e58", "0be4a1957d3c62f8") == [Kind.TOKEN]
    assert natures_of(before + "a" * 250_000 + "1", before + "a" * 250_000 + "2") == (OTHER_TEXT,)
