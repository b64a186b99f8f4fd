"""Highlighting: fragments of a field's text with the matched words marked, as the unified highlighter gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embedded_elasticsearch.document_parser import printable
from embedded_elasticsearch.errors import kind_of, only, parsing, unreadable, unsupported
from embedded_elasticsearch.mapping import Field, Mapping
from embedded_elasticsearch.sql_builder import Mark

_COMMON = {
    "pre_tags",
    "post_tags",
    "fragment_size",
    "number_of_fragments",
    "no_match_size",
    "require_field_match",
    "type",
}
_TOP = frozenset(_COMMON | {"fields", "encoder"})
_PER_FIELD = frozenset(_COMMON)
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "/": "&#x2F;"})


@dataclass(frozen=True)
class Options:
    """How one field is highlighted. ``number_of_fragments`` 0 gives the whole text."""

    pre_tag: str = "<em>"
    post_tag: str = "</em>"
    fragment_size: int = 100
    number_of_fragments: int = 5
    no_match_size: int = 0
    require_field_match: bool = True
    html: bool = False


@dataclass(frozen=True)
class Highlight:
    """A ``highlight`` element: (field, options) in the order asked."""

    fields: tuple[tuple[str, Options], ...]

    @classmethod
    def read(cls, given: Any) -> Highlight:
        options = only(given, _TOP, "highlight", unreadable)
        encoder = options.get("encoder", "default")
        if encoder not in ("default", "html"):
            raise parsing(f"[highlight] unknown encoder [{encoder}]")
        base = _options(options, replace(Options(), html=encoder == "html"))
        return cls(
            tuple((name, _options(only(own, _PER_FIELD, name, unreadable), base)) for name, own in _named(options))
        )

    def apply(self, mapping: Mapping, marks: dict[str, set[Mark]], source: dict[str, Any]) -> dict[str, list[str]]:
        """The fragments of one document, by field; a field without a match is left out."""
        found: dict[str, list[str]] = {}
        for path, options in self.fields:
            target = mapping.fields.get(path)
            if target is None:
                continue
            terms = marks.get(path, set()) if options.require_field_match else set().union(*marks.values())
            fragments = _fragments(target, _texts(source, target.source), terms, options)
            if fragments:
                found[path] = fragments
        return found


def _named(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    fields = options.get("fields")
    for entry in fields if isinstance(fields, list) else [fields]:
        if not isinstance(entry, dict):
            raise parsing(
                "[highlight] [fields] can be an object, or an array where each entry is an object with one field"
            )
        for name in entry:
            if "*" in name:
                raise unsupported(f"[highlight] of the fields [{name}], only of named ones")
        yield from entry.items()


def _options(given: dict[str, Any], base: Options) -> Options:
    if given.get("type", "unified") != "unified":
        raise unsupported(f"[highlight] type [{given['type']}], only unified")
    return replace(
        base,
        pre_tag=_tag(given, "pre_tags", base.pre_tag),
        post_tag=_tag(given, "post_tags", base.post_tag),
        fragment_size=_size(given, "fragment_size", base.fragment_size),
        number_of_fragments=_size(given, "number_of_fragments", base.number_of_fragments),
        no_match_size=_size(given, "no_match_size", base.no_match_size),
        require_field_match=_flag(given, "require_field_match", base.require_field_match),
    )


def _tag(given: dict[str, Any], name: str, default: str) -> str:
    tags = given.get(name)
    if tags is None:
        return default
    tags = [tags] if isinstance(tags, str) else tags
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
        raise parsing(f"[highlight] [{name}] must be an array of strings, found {kind_of(tags)}")
    return str(tags[0])


def _size(given: dict[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise parsing(f"[highlight] [{name}] must be a number of 0 or more, found [{value}]")
    return value


def _flag(given: dict[str, Any], name: str, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise parsing(f"[highlight] [{name}] must be true or false, found [{value}]")
    return value


def _texts(source: dict[str, Any], path: str) -> list[str]:
    """The values of a path in a document: through arrays, and through names that have dots themselves."""
    return [printable(value) for value in _values(source, path) if value is not None and not isinstance(value, dict)]


def _values(value: Any, path: str) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if path == name or path.startswith(name + "."):
                yield from _values(item, path[len(name) + 1 :])


Span = tuple[int, int]


def _fragments(target: Field, texts: list[str], marks: set[Mark], options: Options) -> list[str]:
    # The values of an array are highlighted each for itself.
    spans = [_merged(_spans(target, text, marks)) for text in texts]
    if not any(spans):
        return [_leading(texts[0], options)] if texts and options.no_match_size else []
    if options.number_of_fragments == 0:
        whole = zip(texts, spans, strict=True)
        return [_marked(text, (0, len(text)), found, options) for text, found in whole if found]
    passages = [
        (text, passage, inside)
        for text, found in zip(texts, spans, strict=True)
        for passage, inside in _passages(text, found, options.fragment_size)
    ]
    best = sorted(range(len(passages)), key=lambda at: -_weight(passages[at]))[: options.number_of_fragments]
    return [_marked(*passages[at], options) for at in sorted(best)]


def _weight(passage: tuple[str, Span, list[Span]]) -> float:
    """More different words first, then more words; the earlier passage wins a tie."""
    text, _, spans = passage
    return len({text[start:end].lower() for start, end in spans}) + len(spans) / 1000


def _spans(target: Field, text: str, marks: set[Mark]) -> Iterator[Span]:
    if not marks:
        return
    if not target.is_text:
        if any(mark.words == (text,) or (mark.prefix is not None and text.startswith(mark.prefix)) for mark in marks):
            yield 0, len(text)
        return
    tokens = target.analyze(text)
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for mark in marks:
        if mark.words:
            by_first.setdefault(mark.words[0], []).append(mark.words)
    prefixes = tuple(mark.prefix for mark in marks if mark.prefix is not None)
    for at, token in enumerate(tokens):
        if prefixes and token.text.startswith(prefixes):
            yield token.start, token.end
        for words in by_first.get(token.text, ()):
            if len(words) == 1 or tuple(other.text for other in tokens[at : at + len(words)]) == words:
                yield token.start, tokens[at + len(words) - 1].end


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?![\s\"')\]]|$)[^.!?\n]*)*(?:[.!?]+[\"')\]]*|\n|$)\s*")
_SPACE = re.compile(r"\s")


def _passages(text: str, spans: list[Span], size: int) -> Iterator[tuple[Span, list[Span]]]:
    """Stretches of the text of about ``size`` characters around the spans, cut at sentences where that is possible."""
    sentences = [match.span() for match in _SENTENCE.finditer(text) if match.start() < match.end()] or [(0, len(text))]
    at = 0
    while at < len(spans):
        start, end = _stretch(text, sentences, spans[at], size)
        inside = [span for span in spans[at:] if span[0] < end]
        end = max(end, inside[-1][1])
        yield (start, end), inside
        at += len(inside)


def _stretch(text: str, sentences: list[Span], span: Span, size: int) -> Span:
    holding = next(number for number, sentence in enumerate(sentences) if span[0] < sentence[1])
    start, end = sentences[holding]
    if span[0] - start > size:  # a sentence longer than a fragment: start near the word
        start = _word_start(text, start, span[0] - size // 2)
    if end - start > size:
        return start, _word_end(text, max(start + size, span[1]), end)
    for _, following in sentences[holding + 1 :]:
        if following - start > size:
            break
        end = following
    return start, end


def _word_start(text: str, lowest: int, position: int) -> int:
    found = _SPACE.search(text, max(lowest, position))
    return found.end() if found else lowest


def _word_end(text: str, position: int, highest: int) -> int:
    found = _SPACE.search(text, position, highest)
    return found.start() if found else highest


def _marked(text: str, passage: Span, spans: list[Span], options: Options) -> str:
    position, end = passage
    if options.number_of_fragments:
        end = max(position + len(text[position:end].rstrip()), spans[-1][1])
        position += len(text[position:end]) - len(text[position:end].lstrip())
    parts = []
    for start, stop in spans:
        parts += [_encoded(text[position:start], options), options.pre_tag, _encoded(text[start:stop], options)]
        parts.append(options.post_tag)
        position = stop
    return "".join([*parts, _encoded(text[position:end], options)])


def _leading(text: str, options: Options) -> str:
    end = len(text) if len(text) <= options.no_match_size else _word_end(text, options.no_match_size, len(text))
    return _encoded(text[:end].rstrip(), options)


def _encoded(text: str, options: Options) -> str:
    return text.translate(_HTML) if options.html else text
