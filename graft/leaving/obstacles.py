"""What stands between a project and an app without Graft, as sentences; nothing where all is native."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.routing import Host

from graft.flaskside.rules import Overlap
from graft.frameworks import HostedApp
from graft.leaving.imports import SUPPORT, imports_of_graft
from graft.leaving.project import Project
from graft.routing.table import Row


def obstacles(project: Project) -> Iterator[str]:
    """In the order in which a person would see to them: routes first, then code, then settings."""
    yield from _routes(project)
    yield from _apps(project)
    yield from _imports(project)
    yield from _settings(project)


def _routes(project: Project) -> Iterator[str]:
    for row in project.table:
        if (why := _left(project, row)) is not None:
            yield f"{row.key}: {why}"


def _left(project: Project, row: Row) -> str | None:
    if row.native is None:
        return None if row in project.static else "Flask answers it, there is no native route"
    if not row.switched:
        return None
    if row.overlap is Overlap.NARROWER:
        return "its converter takes less than Flask's, which answers the rest"
    switch = project.switch(row.key)
    if switch.share == 100:
        if switch.errors == "legacy" and not isinstance(getattr(row.native.route, "app", None), HostedApp):
            return 'its switch says errors = "legacy", which can be written down for FastAPI\'s operations alone'
        return None
    return f"Flask answers {100 - switch.share:g} % of it" + (", it was tripped" if switch.tripped else "")


def _apps(project: Project) -> Iterator[str]:
    for hosted in project.hosted:
        if type(hosted).__name__ != "HostedFastAPI":
            yield f"{hosted.name}: a Quart app or blueprint has Flask's templates and errors from Graft"
    hosts = (native for native in project.natives if native.within is not None or isinstance(native.route, Host))
    for module in dict.fromkeys(native.module for native in hosts):
        yield f"{module}: routes of one host, in a Host"
    if project.others:
        yield "GRAFT_LEGACY: a dispatcher with several Flask apps"


def _imports(project: Project) -> Iterator[str]:
    for path, text in project.sources:
        for found in imports_of_graft(text, path):
            for name in found.missing:
                yield f"{path.relative_to(project.folder)}:{found.line}: {name} has no stand-in"
    for name in (SUPPORT, "asgi"):
        if any(path.stem == name for path in project.packages):
            yield f"{name}: the project has a module of that name, which the written app needs"


def _settings(project: Project) -> Iterator[str]:
    if project.settings.legacy_prefix:
        yield "GRAFT_LEGACY_PREFIX: the Flask app below a path; mount the written app there yourself"
