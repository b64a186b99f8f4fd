"""Bodies: what an answer's body is, decoded and as a tree, within bounds."""

from __future__ import annotations

import json
import zlib
from enum import StrEnum
from typing import Any

from graft.mirroring.answers import Answer
from graft.mirroring.slices import checkpoint, in_slices

LARGEST_DECODED = 1024 * 1024
"""Bytes of a compressed body when decoded. More can't be parsed without holding everybody up."""


class TooLarge(Exception):
    """A compressed body is larger than LARGEST_DECODED when decoded: there is nothing to say about it."""


class Kind(StrEnum):
    JSON = "json"
    HTML = "html"
    BYTES = "bytes"


def kind_of(answer: Answer) -> Kind:
    """What the content type says the body is; text other than HTML counts as bytes when it is compared."""
    content_type = (answer.header(b"content-type") or b"").split(b";")[0].strip().lower()
    if content_type == b"application/json" or content_type.endswith(b"+json"):
        return Kind.JSON
    if content_type in (b"text/html", b"application/xhtml+xml"):
        return Kind.HTML
    return Kind.BYTES


def decoded(answer: Answer) -> bytes:
    """The body without its content encoding; a broken one, and one that zlib doesn't know, stays as it is. Raises
    TooLarge."""
    encoding = (answer.header(b"content-encoding") or b"").strip().lower()
    if encoding not in (b"gzip", b"x-gzip", b"deflate") or not answer.body:
        return answer.body
    decoder = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it turns out to be
    try:
        body = decoder.decompress(answer.body, LARGEST_DECODED)
    except zlib.error:
        return answer.body
    if decoder.unconsumed_tail:
        raise TooLarge
    return body if decoder.eof else answer.body


REMEMBERED = 64 * 1024
"""Bytes of a body whose tree is remembered: four trees of larger ones would take too much memory."""


class Trees:
    """The trees of a few bodies that are compared with each other: each is taken apart once. Nobody changes them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[Kind, bytes], Any] = {}

    def of(self, kind: Kind, body: bytes) -> Any:
        """The tree of JSON or of HTML. Raises ValueError or RecursionError when it is none."""
        tree = self._known.get((kind, body))
        if tree is None:
            checkpoint()
            tree = json.loads(body) if kind is Kind.JSON else tree_of_html(body)
            if len(body) <= REMEMBERED:
                self._known[kind, body] = tree
        return tree


def tree_of_html(body: bytes) -> dict[str, Any]:
    """A tree of elements. Raises ValueError when there is nothing in it.

    Attributes are ``@name``, children stand by tag, their order is ``#order``, the text ``#text``: so
    ``body.html.body[0].form[0].input[1].@value`` is a path, as in JSON. White space between words does not count but
    where it is shown or sent (pre, textarea, script), nor do comments and the order of attributes and classes.
    """
    return _tree(_elements(body))


def _elements(body: bytes) -> Any:
    from lxml import etree  # type: ignore[attr-defined]  # 4 MiB, for those who compare HTML

    parser = etree.HTMLParser(remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    if root is None or any(entry.level_name == "FATAL" for entry in parser.error_log):
        raise ValueError("no HTML that can be read to its end")
    return root


_EXACT = frozenset({"pre", "textarea", "script", "style", "listing", "xmp"})
"""Elements whose white space is part of what they say."""


def _tree(root: Any) -> dict[str, Any]:
    """Few objects stay of an element: the interpreter's garbage collector goes through all of them, in one piece."""
    tree: dict[str, Any] = {}
    below = [(root, tree, False)]
    while below:
        element, node, exact = below.pop()
        exact = exact or element.tag in _EXACT
        texts, order = [element.text or ""], []
        node["#text"] = node["#order"] = ""  # first, whatever else there is
        for name, value in element.attrib.items():
            node[f"@{name}"] = " ".join(sorted(value.split())) if name == "class" else value
        for child in in_slices(element.iterchildren("*")):
            texts.append(child.tail or "")
            order.append(child.tag)
            below.append((child, {}, exact))
            node.setdefault(child.tag, []).append(below[-1][1])
        checkpoint()
        text = "".join(texts)
        node["#text"] = text.replace("\r\n", "\n").removeprefix("\n") if exact else " ".join(text.split())
        node["#order"] = " ".join(order)
    return {root.tag: tree}
