"""Hooks of the site's build: what is in the repository beside docs/ is named, as the site has no such page."""

from __future__ import annotations

import re
from typing import Any

_BESIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _BESIDE.sub(_named, markdown)


def _named(found: re.Match[str]) -> str:
    text, path = found[1], found[2]
    return f"`{path}`" if text == path or path.endswith(f"/{text}") else f"{text} (`{path}`)"
