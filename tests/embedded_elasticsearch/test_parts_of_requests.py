"""minimum_should_match, _source filters, sort and highlight: the parts that need no database."""

from __future__ import annotations

from typing import Any

import pytest

from embedded_elasticsearch.errors import EngineError
from embedded_elasticsearch.highlight import Highlight
from embedded_elasticsearch.mapping import compile_mapping
from embedded_elasticsearch.query_options import required
from embedded_elasticsearch.sources import SourceFilter
from embedded_elasticsearch.sql_builder import Mark


@pytest.mark.parametrize(
    ("given", "clauses", "need"),
    [
        (2, 5, 2),
        ("2", 5, 2),
        (7, 5, 6),
        (-1, 5, 4),
        (-9, 5, 0),
        ("75%", 4, 3),
        ("75%", 3, 2),
        ("-25%", 4, 3),
        ("-25%", 3, 3),
    ],
)
def test_minimum_should_match(given: Any, clauses: int, need: int) -> None:
    assert required(given, clauses) == need


@pytest.mark.parametrize("given", ["", "abc", "1.5", None, True, [], "3<", "2<-1"])
def test_a_minimum_that_can_not_be_read_is_refused(given: Any) -> None:
    with pytest.raises(EngineError, match="minimum_should_match"):
        required(given, 3)


SOURCE = {"title": "t", "author": {"name": "n", "age": 1}, "tags": [{"a": 1, "b": 2}, {"b": 3}], "a.b": 5, "empty": {}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, SOURCE),
        ("title", {"title": "t"}),
        (["author"], {"author": {"name": "n", "age": 1}}),
        (["author.name", "tags.a"], {"author": {"name": "n"}, "tags": [{"a": 1}]}),
        ({"excludes": ["author.*", "tags"]}, {"title": "t", "author": {}, "a.b": 5, "empty": {}}),
        ({"includes": ["*a*"], "excludes": ["*.age", "tags"]}, {"author": {"name": "n"}, "a.b": 5}),
        ({"include": "a.b"}, {"a.b": 5}),
        (["nope"], {}),
        (["tags.*"], {"tags": [{"a": 1, "b": 2}, {"b": 3}]}),
    ],
)
def test_a_source_filter_keeps_what_it_names(given: Any, expected: dict[str, Any]) -> None:
    assert SourceFilter.read(given).apply(SOURCE) == expected


def test_a_source_filter_of_the_address() -> None:
    assert not SourceFilter.from_query({"_source": "false"}).is_enabled
    assert SourceFilter.from_query({"_source": "true"}).apply(SOURCE) == SOURCE
    assert SourceFilter.from_query({"_source_excludes": "tags,author,a.b,empty"}).apply(SOURCE) == {"title": "t"}


@pytest.mark.parametrize("given", [5, [1], {"includes": 5}, {"nope": 1}])
def test_a_source_filter_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(EngineError, match="_source"):
        SourceFilter.read(given)


MAPPING = compile_mapping(
    {"properties": {"text": {"type": "text"}, "kind": {"type": "keyword"}, "n": {"type": "long"}}}
)


def highlighted(text: Any, marks: list[Mark], **options: Any) -> list[str] | None:
    found = Highlight.read({"fields": {"text": options}}).apply(MAPPING, {"text": set(marks)}, {"text": text})
    return found.get("text")


def test_a_phrase_is_one_mark_and_overlapping_marks_are_joined() -> None:
    marks = [Mark(("quick", "brown")), Mark(("brown", "fox")), Mark(("dog",)), Mark(prefix="jum")]
    assert highlighted("A quick brown fox jumps the dog", marks) == [
        "A <em>quick brown fox</em> <em>jumps</em> the <em>dog</em>"
    ]


def test_a_word_in_the_middle_of_an_endless_sentence_is_shown_with_what_is_around_it() -> None:
    text = "word " * 200 + "needle " + "word " * 200
    (fragment,) = highlighted(text, [Mark(("needle",))], fragment_size=50) or []
    assert "<em>needle</em>" in fragment
    assert len(fragment) < 90


def test_the_best_fragments_are_shown_in_the_order_of_the_text() -> None:
    text = "One needle here. " + "Filler sentence of some length. " * 5 + "A needle and a thread there."
    marks = [Mark(("needle",)), Mark(("thread",))]
    assert (highlighted(text, marks, fragment_size=30) or [])[0] == "One <em>needle</em> here."
    best = highlighted(text, marks, fragment_size=30, number_of_fragments=1)
    assert best == ["A <em>needle</em> and a <em>thread</em> there."]


def test_without_a_match_the_beginning_is_shown_where_that_is_asked() -> None:
    assert highlighted("Some long text", [Mark(("nope",))]) is None
    assert highlighted("Some long text", [], no_match_size=6) == ["Some long"]
    assert highlighted("Short", [], no_match_size=50) == ["Short"]
    assert highlighted([], [], no_match_size=50) is None


def test_values_are_found_through_arrays_objects_and_dotted_names() -> None:
    mapping = compile_mapping({"properties": {"a": {"properties": {"b": {"type": "text"}}}}})
    highlight = Highlight.read({"fields": [{"a.b": {}}], "pre_tags": "[", "post_tags": "]"})
    source = {"a": [{"b": "one word"}, {"b": [None, "two words"]}], "a.b": "word three", "ab": "word"}
    found = highlight.apply(mapping, {"a.b": {Mark(("word",))}}, source)
    assert found == {"a.b": ["one [word]", "[word] three"]}


@pytest.mark.parametrize(
    "given",
    [
        5,
        {},
        {"fields": 5},
        {"fields": ["text"]},
        {"fields": {"text": {"nope": 1}}},
        {"fields": {}, "nope": 1},
        {"fields": {}, "encoder": "xml"},
        {"fields": {"text": {"type": "plain"}}},
        {"fields": {"text": {"order": "score"}}},
        {"fields": {"te*": {}}},
        {"fields": {"text": {"fragment_size": -1}}},
        {"fields": {"text": {"number_of_fragments": "5"}}},
        {"fields": {"text": {"pre_tags": []}}},
        {"fields": {"text": {"require_field_match": "no"}}},
    ],
)
def test_a_highlight_that_can_not_be_done_is_refused(given: Any) -> None:
    with pytest.raises(EngineError):
        Highlight.read(given)
