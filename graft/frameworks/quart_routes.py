"""Quart: the rules that native modules export as ``app: Quart`` or in a Quart ``Blueprint``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from quart import Blueprint, Quart
from starlette.convertors import CONVERTOR_TYPES
from starlette.routing import BaseRoute
from werkzeug.routing import Rule

from graft.flaskside.rules import template
from graft.frameworks.hosted_app import HostedRoute, HostedWebSocketRoute
from graft.frameworks.quart_beside_flask import HostedQuart, leave_errors

T = TypeVar("T")


def of(modules: Sequence[ModuleType]) -> Iterator[tuple[str, list[BaseRoute]]]:
    """By module, the rules of its apps, and of its blueprints that no exported app has registered.

    What a module only imports from another that is a native one too belongs to that other.
    """
    apps = [(module.__name__, app) for module in modules for app in _exported(module, Quart)]
    taken = {id(blueprint) for _, app in apps for blueprint in app.blueprints.values()}
    for module in modules:
        for blueprint in _exported(module, Blueprint):
            if id(blueprint) not in taken:
                taken.add(id(blueprint))
                app = Quart(blueprint.import_name, static_folder=None)
                leave_errors(app)
                app.register_blueprint(blueprint)
                yield module.__name__, list(_routes(HostedQuart(app, module.__name__, is_own=True)))
    seen: set[int] = set()
    for name, app in apps:
        if id(app) not in seen:
            seen.add(id(app))
            yield name, list(_routes(HostedQuart(app, name)))


def _exported(module: ModuleType, kind: type[T]) -> Iterator[T]:
    return (value for value in vars(module).values() if isinstance(value, kind) and kind is type(value))


def _routes(hosted: HostedQuart) -> Iterator[BaseRoute]:
    for rule in hosted.quart.url_map.iter_rules():
        if rule.build_only or _is_static_of_nothing(hosted.quart, rule):
            continue
        view = hosted.quart.view_functions.get(rule.endpoint, hosted)
        if rule.websocket:
            yield HostedWebSocketRoute(_path(rule), view, hosted, rule.endpoint)
        else:
            automatic = {"OPTIONS"} if getattr(rule, "provide_automatic_options", True) else set()
            yield HostedRoute(_path(rule), view, hosted, (rule.methods or {"GET"}) - automatic, rule.endpoint)


def _path(rule: Rule) -> str:
    """As Starlette writes it. A converter that it has not takes a segment there, and Quart decides about it."""
    path = template(rule.rule)
    for name, converter in rule._converters.items():
        kind = path.partition(f"{{{name}:")[2].partition("}")[0]
        if kind and kind not in CONVERTOR_TYPES:
            instead = name if converter.part_isolating else f"{name}:path"
            path = path.replace(f"{{{name}:{kind}}}", f"{{{instead}}}")
    return path


def _is_static_of_nothing(app: Quart, rule: Rule) -> bool:
    """Every app has a rule for a folder of static files; most native modules have no such folder."""
    name, _, endpoint = rule.endpoint.rpartition(".")
    owner = app.blueprints.get(name) if name else app
    folder = getattr(owner, "static_folder", None)
    return endpoint == "static" and (folder is None or not Path(folder).is_dir())
