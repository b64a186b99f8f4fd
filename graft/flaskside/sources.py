"""Where the code of a Flask app's rule comes from, for telling one build of it from another."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask

from graft.flaskside.rules import LegacyRule


def modules_of(rule: LegacyRule) -> Iterator[str]:
    """The modules of the view, and of what runs around every view: hooks, processors, error handlers."""
    app = rule.app
    yield from _modules(app.view_functions.get(rule.endpoint))
    for registered in (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.url_default_functions,
        app.template_context_processors,
        app.error_handler_spec,
    ):
        yield from _modules(registered)


def template_folders(app: Flask) -> Iterator[Path]:
    """Those of the app and of its blueprints."""
    for scaffold in (app, *app.blueprints.values()):
        if scaffold.template_folder is not None:
            yield Path(scaffold.root_path) / scaffold.template_folder


def _modules(registered: Any) -> Iterator[str]:
    """The modules of all functions and classes in what Flask keeps them in, dicts and lists of any depth."""
    if isinstance(registered, dict):
        for each in registered.values():
            yield from _modules(each)
    elif isinstance(registered, (list, tuple, set)):
        for each in registered:
            yield from _modules(each)
    elif registered is not None:
        yield from module_of(registered)


def module_of(function: Any) -> Iterator[str]:
    """The module that a function, a class, or an object with a class was written in; of a class-based view its own."""
    while isinstance(function, partial):
        function = function.func
    for each in (inspect.unwrap(function), getattr(function, "view_class", None)):
        name = getattr(each, "__module__", None)
        if isinstance(name, str):
            yield name
