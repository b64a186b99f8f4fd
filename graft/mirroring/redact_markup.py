"""Markup: HTML and XML without the secrets in their forms, attributes, elements and texts.

One pass over the tags, in linear time: a tag ends at its ``>`` outside quotes; a quote that is never closed takes the
rest of the text, as it does in a browser. Pure, any thread.
"""

from __future__ import annotations

import re
from typing import Protocol

from graft.mirroring.secret_names import Family, family_of
from graft.mirroring.slices import checkpoint

_TAG = re.compile(r"""<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*+)(?P<attributes>(?:[^<>"']++|"[^"]*+"?|'[^']*+'?)*+)>?""")
_ATTRIBUTE = re.compile(r"""([^\s=<>"'/]++)(?:(\s{0,20}=\s{0,20})("[^"]*+"?|'[^']*+'?|[^\s>"']++))?""")
_URLS = frozenset({"href", "src", "action", "formaction", "poster", "cite", "data-url", "data-href"})
_VALUES = frozenset({"value", "content", "data-value"})
_PICTURE = re.compile(r"[MmZzLlHhVvCcSsQqTtAa0-9eE\s,.+-]++")
"""The lines of a drawing, as SVG has them."""

_PLAIN = re.compile(r"[a-z]{1,5}|\d{1,3}")
"""What says too little to be a secret, where a form has it: the field to sort by, a number of rows."""

_LABELS = frozenset({"th", "dt", "td", "label", "b", "strong"})
_INLINE = frozenset(
    {"a", "b", "code", "dd", "em", "i", "kbd", "mark", "pre", "samp", "span", "strong", "tt", "u", "var"}
)
_HELD = frozenset({"textarea", "button", "option", "output"})


class Texts(Protocol):
    """What a value is without its secrets."""

    def text(self, text: str) -> str: ...

    def url(self, url: str) -> str: ...

    def named(self, name: str, value: str) -> str: ...

    def strike(self, value: str) -> str: ...


def redact_markup(markup: str, texts: Texts) -> str:
    """``markup`` without secrets. The tags stay, so that a person sees where they were."""
    redacted: list[str] = []
    end = 0
    held: str | None = None  # the name that the text up to the next tag stands under
    columns = _Columns()
    for tag in _TAG.finditer(markup):
        checkpoint()
        between = markup[end : tag.start()]
        redacted.append(_between(between, held, texts))
        name = tag["name"].lower()
        attributes = _ATTRIBUTE.findall(tag["attributes"])
        if tag.end() == len(markup) and not tag[0].endswith(">"):  # what the rest would have said of it is not here
            return "".join([*redacted, f"<{name} ..."])
        closes = bool(tag["close"])
        held = columns.head_of(name, closes, between) or _holds(name, attributes, closes, between, held)
        redacted.append(_tag(tag[0], name, attributes, texts))
        end = tag.end()
    redacted.append(_between(markup[end:], held, texts))
    return "".join(redacted)


def _between(text: str, held: str | None, texts: Texts) -> str:
    if not text or text.isspace():
        return text
    return texts.named(held, text) if held is not None else texts.text(text)


class _Columns:
    """What the columns of a table are called, by the cells of its first row."""

    __slots__ = ("_heads", "_number", "_rows")

    def __init__(self) -> None:
        self._heads: dict[int, str] = {}
        self._rows = self._number = 0

    def head_of(self, tag: str, closes: bool, before: str) -> str | None:
        """The head of the cell that opens here, if it says that secrets stand below it."""
        if tag == "table":
            self._heads, self._rows = {}, 0
        elif tag == "tr" and not closes:
            self._rows, self._number = self._rows + 1, 0
        elif tag in ("td", "th"):
            if not closes:
                self._number += 1
                return self._heads.get(self._number) if self._rows > 1 else None
            if self._rows == 1 and _names_secret(label := before.strip().rstrip(":*")):
                self._heads[self._number] = label
        return None


def _names_secret(label: str) -> bool:
    return 0 < len(label) <= 40 and family_of(label) in (Family.SECRET, Family.NUMBER)


def _holds(
    name: str, attributes: list[tuple[str, str, str]], closes: bool, before: str, held: str | None
) -> str | None:
    """What the text behind this tag is called: by the field, by the XML element, or by the label in front."""
    if closes:
        label = before.strip().rstrip(":*")
        if name in _LABELS and _names_secret(label):
            return label
        return held if name in _LABELS and before.isspace() else None
    if name in _HELD:
        return next((_unquoted(value) for key, _, value in attributes if key.lower() == "name"), None)
    if held is not None and (not before or before.isspace()):
        return held
    if name in _INLINE and (text := before.rstrip()).endswith((":", "=")):  # Password: <code>
        label = " ".join(text[-40:].rstrip(":= ").split()[-2:])
        return next((each for each in (label, label.rpartition(" ")[2]) if _names_secret(each)), None)
    return name if family_of(name) is not Family.NONE and name not in ("code", "key") else None


def _tag(tag: str, name: str, attributes: list[tuple[str, str, str]], texts: Texts) -> str:
    if not attributes:
        return tag
    given = {key.lower(): _unquoted(value) for key, _, value in attributes}
    called = given.get("name") or given.get("property") or given.get("http-equiv") or given.get("id") or ""
    kind = given.get("type", "").lower() if name == "input" else ""

    def replace(match: re.Match[str]) -> str:
        key, value = match[1].lower(), _unquoted(match[3] or "")
        if not value:
            return match[0]
        quote = match[3][0] if match[3][0] in "\"'" else '"'
        return f"{match[1]}{match[2]}{quote}{_attribute(key, value, called, kind, texts)}{quote}"

    head = len(name) + 1 if tag[1] != "/" else len(name) + 2
    return tag[:head] + _ATTRIBUTE.sub(replace, tag[head:])


def _attribute(key: str, value: str, called: str, kind: str, texts: Texts) -> str:
    """``kind`` is that of a field of a form."""
    if key in _VALUES:
        return _value(value, called, kind, texts)
    if key in ("d", "points") and _PICTURE.fullmatch(value):
        return value
    if key in _URLS:
        return texts.url(value)
    if key in ("name", "id", "for", "class", "type", "autocomplete", "placeholder"):
        return texts.text(value)
    return texts.named(key, value)


def _value(value: str, called: str, kind: str, texts: Texts) -> str:
    match kind:
        case "submit" | "button" | "reset":
            return texts.text(value)
        case "radio" | "checkbox" if _PLAIN.fullmatch(value):
            return value
        case "hidden" if _PLAIN.fullmatch(value):
            return texts.named(called, value)
        case "password" | "hidden":
            return texts.strike(value)
    return texts.named(called, value)


def _unquoted(value: str) -> str:
    return value.strip("\"'")
