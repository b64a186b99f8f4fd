from __future__ import annotations

import pytest

from embedded_elasticsearch.analysis import MAX_TOKEN, analyzer, fts_text, fts_token


def words(text: str, name: str = "standard") -> list[str]:
    analyze = analyzer(name)
    assert analyze is not None
    return [token.text for token in analyze(text)]


# As a real Elasticsearch 8.19 cuts them.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("foo_bar can't 3.14 flask.app a:b", ["foo_bar", "can't", "3.14", "flask.app", "a:b"]),
        ("x@y.z C++ AT&T a-b", ["x", "y.z", "c", "at", "t", "a", "b"]),
        ("1,000 1;2 3,a a,b a.1 1.a 2:3", ["1,000", "1;2", "3", "a", "a", "b", "a", "1", "1", "a", "2", "3"]),
        ("__init__ a__b _ 1_a", ["__init__", "a__b", "1_a"]),
        ("1.2.3 v1.2 a.b.", ["1.2.3", "v1.2", "a.b"]),
        ("don’t a·b İstanbul Größe", ["don’t", "a·b", "istanbul", "größe"]),
        ("日本語 カタカナ ひら 한국어 สวัสดี", ["日", "本", "語", "カタカナ", "ひ", "ら", "한국어", "สวัสดี"]),
        ("漢a漢 カa", ["漢", "a", "漢", "カ", "a"]),
        ("हिन्दी cafe\u0301 ² ＡＢ", ["हिन्दी", "cafe\u0301", "ａｂ"]),
        ("so 😀 nice 👍🏽", ["so", "😀", "nice", "👍🏽"]),
    ],
)
def test_standard_words_are_those_of_lucene(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whitespace", ["The", "Quick-brown", "f0x", "IS"]),
    ],
)
def test_the_other_analyzers_cut_as_lucene_does(name: str, expected: list[str]) -> None:
    assert words("The Quick-brown f0x IS", name) == expected
    assert analyzer("english") is None
    assert words("", name) == []


def test_offsets_point_into_the_text_and_long_words_are_cut() -> None:
    text = "ab " + "x" * (MAX_TOKEN + 5) + " Größe"
    analyze = analyzer("standard")
    assert analyze is not None
    tokens = analyze(text)
    assert [len(token.text) for token in tokens] == [2, MAX_TOKEN, 5, 5]
    assert [text[token.start : token.end].lower() for token in tokens] == [token.text for token in tokens]


def test_no_token_can_end_an_fts5_string() -> None:
    assert not set(fts_token('a"b* (c) OR Not')) & set('"*() ON')
    analyze = analyzer("whitespace")
    assert analyze is not None
    assert len(fts_text(['a"b', "c"], analyze).split(" ")) == 3
