"""What ``graft init`` writes, before it is filled in."""

from __future__ import annotations

from importlib.resources import files

_FOLDER = files("graft.cli") / "templates"


def template(name: str) -> str:
    """The text of ``name``, below ``templates/``."""
    return (_FOLDER / name).read_text(encoding="utf-8")
