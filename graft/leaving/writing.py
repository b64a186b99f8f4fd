"""The written app, file by file: copies of the project's own modules, the stand-ins, and what serves and tests it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from shutil import copystat

import embedded_elasticsearch
from graft.errors import GraftError
from graft.leaving.entry import Entry, test_text
from graft.leaving.imports import SUPPORT, rewritten
from graft.leaving.project import Project

_WRITTEN = files("graft.leaving") / "written"


def write(project: Project, into: Path) -> list[Path]:
    """Write the app into the new or empty folder ``into``; the files, as paths in it. Raises GraftError."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise GraftError(f"{into} is there already. Name a new folder: nothing is overwritten.")
    written = []
    try:
        for name, content in contents(project):
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if (origin := project.folder / name).is_file():  # browsers have the date of a picture
                copystat(origin, path)
            written.append(Path(name))
    except OSError as error:
        raise GraftError(f"{error.filename} can't be written: {error.strerror}.") from None
    return written


def contents(project: Project) -> Iterator[tuple[str, bytes]]:
    """Each file of the written app, by its path."""
    yield "asgi.py", Entry(project).text().encode()
    for name in _stand_ins(project):
        yield f"{SUPPORT}/{name}.py", _stand_in(name).encode()
    for path in project.files():
        content = path.read_bytes()
        if path.suffix == ".py":
            content = rewritten(content.decode(), path).encode()
        yield path.relative_to(project.folder).as_posix(), content
    if project.uses("elasticsearch", "Elasticsearch") and not project.settings.elasticsearch_url:
        yield from _embedded_engine()
    yield "tests/test_asgi.py", test_text(project).encode()
    folders = project.import_folders
    yield "pytest.ini", f"[pytest]\npythonpath = {' '.join(['.', *folders])}\n".encode()
    below = f'pythonpath = "{",".join(folders)}"\n' if folders else ""
    yield "gunicorn.conf.py", (_GUNICORN + below).encode()
    yield "requirements.txt", _requirements(project).encode()


def _stand_ins(project: Project) -> Iterator[str]:
    yield from ("__init__", "errors", "flask_session", "lifespans", "request_ids", "routing", "tasks")
    if project.needs_flask:
        yield from ("flask_app", "flask_context", "flask_exchange")
    if project.stores_sessions:
        yield "stored_session"
    if project.static:
        yield "static"
    if project.hosted:
        yield from ("fastapi", "fastapi_errors")
    if project.uses("elasticsearch", "Elasticsearch"):
        yield "search"
    if any("graft.search.indexing" in text for _, text in project.sources):
        yield "indexing"


def _stand_in(name: str) -> str:
    if name == "indexing":  # Graft's own, with its errors inside
        text = (files("graft.search") / "indexing.py").read_text(encoding="utf-8")
        return text.replace("from graft.errors import NativeRoutesError, SearchError\n", _ERRORS) + _INDEX
    text = (_WRITTEN / f"{name}.py").read_text(encoding="utf-8")
    return text.replace("graft.leaving.written", SUPPORT).replace("``graft leave``", "Graft")


def _embedded_engine() -> Iterator[tuple[str, bytes]]:
    folder = Path(embedded_elasticsearch.__file__).parent
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _requirements(project: Project) -> str:
    needed = ["starlette", "uvicorn[standard]", "gunicorn", "itsdangerous", "werkzeug", "python-multipart"]
    needed += ["flask[async]"] if project.needs_flask else []
    needed += ["fastapi"] if project.hosted else []
    needed += ["elasticsearch[async]"] if project.uses("elasticsearch", "Elasticsearch") else []
    own = _own_requirements(project)
    names = {re.split(r"[^\w-]", line)[0].lower() for line in own}
    ours = [_pinned(name) for name in needed if name.partition("[")[0] not in names]
    return "".join(f"{line}\n" for line in (*own, *ours))


def _own_requirements(project: Project) -> list[str]:
    try:
        lines = (project.folder / "requirements.txt").read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    ours = re.compile(r"graft\b(?!-)|# The async side, and what serves both\.", re.IGNORECASE)
    return [line for line in lines if not ours.match(line.strip())]


def _pinned(requirement: str) -> str:
    try:
        return f"{requirement}=={version(requirement.partition('[')[0])}"
    except PackageNotFoundError:
        return requirement


_ERRORS = '''

class SearchError(Exception):
    """The documents can't be indexed."""


class NativeRoutesError(Exception):
    """A module declares something that is no index."""

'''
_INDEX = """

async def main(package: str) -> None:
    from async_support.search import open_client

    async with open_client() as client:
        for index in discover(package):
            print(await build(client, index))


if __name__ == "__main__":  # python -m async_support.indexing PACKAGE
    import asyncio
    import sys

    from async_support import indexing

    asyncio.run(indexing.main(sys.argv[1]))
"""
_GUNICORN = '''"""Gunicorn's settings. `gunicorn asgi:app` in this folder picks them up by itself."""

import os

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", min(max(2, os.cpu_count() or 2), 12)))
worker_class = "uvicorn.workers.UvicornWorker"
timeout = 60
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT", "30"))
keepalive = 75  # longer than Nginx's 60 s for its upstream connections
backlog = 2048
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
accesslog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info")
'''
