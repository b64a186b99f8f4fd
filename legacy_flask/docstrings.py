"""Docstrings as HTML: the part of reStructuredText, Markdown and Google style that docstrings really use.

Everything from the docstring is escaped first; what can't be told apart stays a plain paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

MANY_SPACES = re.compile(r"\s+")
BULLET = re.compile(r"^([-*•]|\d{1,2}[.)])\s+")
FIELD = re.compile(r"^(?::(?P<role>[a-zA-Z]+)(?:\s+(?P<name>[^:]+))?:|@(?P<tag>param|return)\b)\s*(?P<text>.*)$")
DIRECTIVE = re.compile(r"^\.\.\s+(?P<name>[\w-]+)::\s*(?P<argument>.*)$")
NOTES = {
    "note": "Note",
    "warning": "Warning",
    "tip": "Tip",
    "seealso": "See also",
    "deprecated": "Deprecated since",
    "versionadded": "Added in",
    "versionchanged": "Changed in",
    "admonition": "",
}
CODE_DIRECTIVES = {"code-block", "sourcecode", "code", "code::", "literalinclude"}
UNDERLINE = re.compile(r"^([=\-~^\"'#*+])\1{2,}$")
INLINE = re.compile(
    r"(?P<code>``(?P<literal>.+?)``)"
    r"|(?P<reference>:[a-zA-Z:]+:`[~!]?(?P<target>[^`<]+?)\s*(?:&lt;[^`]*&gt;)?`)"
    r"|(?P<labelled>`(?P<label>[^`]*?)\s*&lt;(?P<address>https?://[^`\s]+?)&gt;`_{1,2})"
    r"|(?P<single>`(?P<name>[^`]+?)(?:\s*&lt;[^`]*&gt;)?`_{0,2})"
    r"|(?P<strong>\*\*(?P<bold>[^*\s](?:[^*]*[^*\s])?)\*\*)"
    r"|(?P<link>https?://[^\s&<>\"')\]]+[^\s&<>\"')\].,;:])"
)


def to_html(text: str) -> Markup:
    """``text`` as safe HTML: paragraphs, lists, code blocks, fields, notes."""
    return Markup("\n").join(Markup(block) for block in _blocks(text.expandtabs(8).splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    position = 0
    after_colons = False
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        end = _end_of_block(lines, position)
        block = lines[position:end]
        html, position = _block(lines, position, end, after_colons)
        after_colons = block[-1].rstrip().endswith("::") and DIRECTIVE.match(block[-1].strip()) is None
        yield html


def _end_of_block(lines: list[str], start: int) -> int:
    end = start
    while end < len(lines) and lines[end].strip():
        end += 1
    return end


def _block(lines: list[str], start: int, end: int, after_colons: bool) -> tuple[str, int]:
    """The HTML of the block that begins at ``start``, and the line after it."""
    first = lines[start]
    stripped = first.strip()
    if stripped.startswith("```"):
        return _fenced(lines, start)
    if directive := DIRECTIVE.match(stripped):
        return _directive(directive, lines, start)
    if stripped.startswith(">>>"):
        return _code(lines[start:end]), end
    if _indent(first) and (after_colons or _looks_like_code(lines[start:end])):
        stop = _end_of_indented(lines, start, _indent(first))
        return _code(lines[start:stop]), stop
    if end - start >= 2 and UNDERLINE.match(lines[start + 1].strip()):
        return f"<h3>{_inline(stripped)}</h3>", start + 2
    return "".join(_paragraphs(lines[start:end])), end


def _fenced(lines: list[str], start: int) -> tuple[str, int]:
    stop = next((i for i in range(start + 1, len(lines)) if lines[i].strip().startswith("```")), len(lines))
    return _code(lines[start + 1 : stop]), stop + 1


def _directive(directive: re.Match[str], lines: list[str], start: int) -> tuple[str, int]:
    stop = _end_of_indented(lines, start + 1, _indent(lines[start]) + 1)
    body = [line for line in lines[start + 1 : stop] if not re.match(r"^\s+:[\w-]+:(\s|$)", line)]
    name, argument = directive["name"], directive["argument"]
    if name in CODE_DIRECTIVES:
        return _code(body), stop
    if name not in NOTES:
        return (_code([argument, *_dedented(body)]) if body else ""), stop
    label = f"{NOTES[name]} {argument}".strip() if name != "note" else "Note"
    inner = _dedented(body if name != "note" or not argument else [argument, *_dedented(body)])
    return f'<aside class="note {escape(name)}"><strong>{escape(label)}</strong>{"".join(_blocks(inner))}</aside>', stop


def _end_of_indented(lines: list[str], start: int, indent: int) -> int:
    stop = last = start
    while stop < len(lines) and (not lines[stop].strip() or _indent(lines[stop]) >= indent):
        if lines[stop].strip():
            last = stop + 1
        stop += 1
    return last


def _looks_like_code(block: list[str]) -> bool:
    text = " ".join(block)
    return bool(re.search(r"[({\[]\S*[=)\]}]|^\s*(def|class|import|from|async|await|return|\$|@\w)\b", text)) and not (
        re.search(r"[a-z]\.(\s|$)", text) or BULLET.match(block[0].strip()) or FIELD.match(block[0].strip())
    )


def _paragraphs(block: list[str]) -> Iterator[str]:
    """A block of text: runs of prose, bullets and fields, in their order."""
    prose: list[str] = []
    position = 0
    while position < len(block):
        line = block[position].strip()
        match = BULLET.match(line) or FIELD.match(line)
        if match is None:
            prose.append(line)
            position += 1
            continue
        if prose:
            yield _prose(prose)
            prose = []
        pattern = BULLET if BULLET.match(line) else FIELD
        items, position = _items(block, position, pattern)
        yield _bullets(items) if pattern is BULLET else _fields(items)
    if prose:
        yield _prose(prose)


def _items(block: list[str], position: int, pattern: re.Pattern[str]) -> tuple[list[str], int]:
    items: list[str] = []
    indent = _indent(block[position])
    while position < len(block):
        line = block[position]
        if pattern.match(line.strip()):
            items.append(line.strip())
        elif _indent(line) > indent:
            items[-1] += " " + line.strip()
        else:
            break
        position += 1
    return items, position


def _bullets(items: list[str]) -> str:
    texts = [_inline(BULLET.sub("", item)) for item in items]
    return f"<ul>{''.join(f'<li>{text}</li>' for text in texts)}</ul>"


def _fields(items: list[str]) -> str:
    rows = []
    for item in items:
        field = FIELD.match(item)
        assert field is not None
        role = field["role"] or field["tag"]
        label = field["name"] if field["name"] else {"return": "returns", "rtype": "returns"}.get(role, role)
        rows.append(f"<div><dt>{escape(MANY_SPACES.sub(' ', label))}</dt><dd>{_inline(field['text'])}</dd></div>")
    return f"<dl>{''.join(rows)}</dl>"


def _prose(lines: list[str]) -> str:
    text = " ".join(lines)
    text = re.sub(r"\s*::$", ":" if text.rstrip(":").strip() else "", text)
    return f"<p>{_inline(text)}</p>" if text else ""


def _code(lines: list[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(_dedented(lines)))}</code></pre>"


def _dedented(lines: list[str]) -> list[str]:
    lines = list(lines)
    while lines and not lines[0].strip():
        del lines[0]
    while lines and not lines[-1].strip():
        del lines[-1]
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _inline(text: str) -> str:
    return INLINE.sub(_inline_html, str(escape(text)))


def _inline_html(found: re.Match[str]) -> str:
    if found["code"]:
        return f"<code>{found['literal']}</code>"
    if found["reference"]:
        return f"<code>{found['target']}</code>"
    if found["labelled"]:
        return _link(found["address"], found["label"] or found["address"])
    if found["single"]:
        return f"<code>{found['name']}</code>"
    if found["strong"]:
        return f"<strong>{found['bold']}</strong>"
    return _link(found["link"], found["link"])


def _link(address: str, label: str) -> str:
    return f'<a href="{address}" rel="noreferrer">{label}</a>'
