"""Where the code of a mounted Django app comes from: its settings name it, and no import statement leads there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def modules_of(app: Any) -> Iterator[str]:
    """All modules of the Django apps that are installed, the settings and the URLs; nothing for an app of another kind.

    A module that is not loaded yet, as views before the first request, is found in the folder of its package.
    """
    if not _is_django(app):
        return
    settings = import_module("django.conf").settings
    yield from filter(None, (getattr(settings, "SETTINGS_MODULE", None), getattr(settings, "ROOT_URLCONF", None)))
    for config in import_module("django.apps").apps.get_app_configs():
        yield from _below(config.name)


def template_folders(app: Any) -> Iterator[Path]:
    """Those that the settings name; each app's own lie beside its modules."""
    if _is_django(app):
        for engine in import_module("django.conf").settings.TEMPLATES:
            yield from map(Path, engine.get("DIRS", ()))


def _is_django(app: Any) -> bool:
    return any(kind.__module__ == "django.core.handlers.asgi" for kind in type(app).__mro__)


def _below(package: str) -> Iterator[str]:
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None or package.startswith("django."):
        return
    folder = Path(file).parent
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(part for part in parts if part != "__init__")])
