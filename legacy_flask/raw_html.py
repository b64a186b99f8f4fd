"""HTML inside a docstring (``.. raw:: html``, as elasticsearch has it), turned into the text it stands for."""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = {"p", "h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "blockquote", "table", "tr", "div", "br"}
CELLS = {"td", "th"}
INLINE_SIGNS = {"code": "``", "strong": "**", "b": "**"}
RAW = re.compile(r"^\.\. raw:: html\n\n(?P<html>(?:[ \t]+\S.*(?:\n|\Z)|[ \t]*\n)*)", re.MULTILINE)


def replaced(text: str) -> str:
    """``text`` with every raw HTML block as paragraphs, ``-`` lists and fenced code."""
    return RAW.sub(lambda found: f"{_to_text(found['html'])}\n\n", text) if ".. raw:: html" in text else text


def _to_text(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_block()
    return reader.text()


class _Reader(HTMLParser):
    """Collects blocks of text. Each is a pair: its kind (``p``, ``li`` or ``pre``) and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self.kind = "p"
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.kind == "pre":
            return
        if tag in BLOCKS and not (tag == "p" and self.kind == "li" and not self.parts):
            self.end_block()
            self.kind = {"li": "li", "tr": "li", "pre": "pre"}.get(tag, "p")
        elif tag in CELLS and self.parts:
            self.parts.append(" | ")
        self._sign(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.kind == "pre" and tag != "pre":
            return
        self._sign(tag)
        if tag in BLOCKS:
            self.end_block()

    def _sign(self, tag: str) -> None:
        if tag in INLINE_SIGNS:
            self.parts.append(INLINE_SIGNS[tag])

    def handle_data(self, data: str) -> None:
        if data.strip() or self.parts:
            self.parts.append(data)

    def end_block(self) -> None:
        text = "".join(self.parts)
        text = text.strip("\n").rstrip() if self.kind == "pre" else " ".join(text.split())
        if text:
            self.blocks.append((self.kind, text))
        self.kind, self.parts = "p", []

    def text(self) -> str:
        written = []
        before = ""
        for kind, text in self.blocks:
            gap = "\n" if kind == before == "li" else "\n\n"
            written.append(gap + {"li": f"- {text}", "pre": f"```\n{text}\n```"}.get(kind, text))
            before = kind
        return "".join(written).strip()
