"""The catalogue: passages from the documentation of what is installed here, kept in the portal's database.

``flask --app legacy_flask build-catalogue`` or ``python -m legacy_flask.catalogue`` builds it.
Articles are replaced in one transaction, so that readers see the old catalogue or the new one, and a build that is cut
off leaves the old one. Builds at the same time wait for each other, and the second finds its work done.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from legacy_flask import database
from legacy_flask.passages import Passage, read
from legacy_flask.settings import DataFolderError, data_folder, database_path

BUILDER = "1"  # raise it when passages are read in another way, so that the next start rebuilds

# importable name -> distribution that knows the version
INSTALLED = {
    "starlette": "starlette",
    "flask": "flask",
    "werkzeug": "werkzeug",
    "jinja2": "jinja2",
    "click": "click",
    "itsdangerous": "itsdangerous",
    "gunicorn": "gunicorn",
    "uvicorn": "uvicorn",
    "a2wsgi": "a2wsgi",
    "asgiref": "asgiref",
    "anyio": "anyio",
    "elasticsearch": "elasticsearch",
    "elastic_transport": "elastic-transport",
}
STANDARD_LIBRARY = (
    "asyncio",
    "base64",
    "concurrent",
    "contextlib",
    "contextvars",
    "email",
    "ftplib",
    "functools",
    "hmac",
    "html",
    "http",
    "imaplib",
    "ipaddress",
    "json",
    "logging",
    "mimetypes",
    "multiprocessing",
    "poplib",
    "queue",
    "secrets",
    "selectors",
    "signal",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "urllib",
    "uuid",
    "wsgiref",
    "xmlrpc",
)
# A private module is skipped, but for those that hold public names. elasticsearch has each class twice, with and
# without async; one is enough.
PUBLIC_ANYWAY = {"_async", "_core", "_transport"}
LEFT_OUT = {"test", "tests", "idlelib", "__main__", "vendored", "_vendor"}

COLUMNS = (
    "id",
    "position",
    "package",
    "version",
    "module",
    "kind",
    "name",
    "title",
    "signature",
    "summary",
    "text",
    "source",
    "line",
)

Advance = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Package:
    """One package to read: ``root`` is the folder that its module names start from."""

    name: str
    version: str
    root: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. ``is_new`` is False where the catalogue was up to date already."""

    articles: int
    unreadable: int
    seconds: float
    is_new: bool


def packages() -> list[Package]:
    """What there is to read in this environment, sorted by name. A package that is not installed is left out."""
    found = [_package(name, _version(distribution)) for name, distribution in INSTALLED.items()]
    found += [_package(name, platform.python_version()) for name in STANDARD_LIBRARY]
    return sorted((package for package in found if package), key=lambda package: package.name)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str, version: str | None) -> Package | None:
    spec = importlib.util.find_spec(name) if version else None  # of a top-level name: finds it, imports nothing
    if version is None or spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    origin = Path(spec.origin)
    if not spec.submodule_search_locations:
        return Package(name, version, origin.parent, (origin,))
    files = sorted(file for file in origin.parent.rglob("*.py") if _is_public(file.relative_to(origin.parent)))
    return Package(name, version, origin.parent.parent, tuple(files))


def _is_public(file: Path) -> bool:
    parts = [*file.parent.parts, *([] if file.stem == "__init__" else [file.stem])]
    return all(part not in LEFT_OUT and (part[0] != "_" or part in PUBLIC_ANYWAY) for part in parts)


def fingerprint(of: Iterable[Package]) -> str:
    """Changes when the catalogue would: another version, another set of packages, another way of reading them."""
    parts = [BUILDER, *(f"{package.name} {package.version} {len(package.files)}" for package in of)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def build(path: Path, *, force: bool = False, advance: Advance | None = None) -> Built:
    """Fill the database at ``path``, unless what it has is up to date and ``force`` is not set.

    ``advance`` is called with the name of the package after each file that was read.
    """
    started = time.perf_counter()
    database.prepare(path)
    chosen = packages()
    wanted = fingerprint(chosen)
    with closing(database.connect(path)) as connection:
        if not force and (known := _up_to_date(connection, wanted)) is not None:
            return Built(known, 0, time.perf_counter() - started, is_new=False)
        rows, unreadable = _rows(chosen, advance or (lambda package: None))
        count = _replace(connection, rows, wanted, force=force)
    return Built(count, unreadable, time.perf_counter() - started, is_new=True)


def _up_to_date(connection: sqlite3.Connection, wanted: str) -> int | None:
    row = connection.execute("SELECT articles FROM catalogue WHERE fingerprint = ?", (wanted,)).fetchone()
    return None if row is None else int(row["articles"])


def _replace(connection: sqlite3.Connection, rows: list[tuple[Any, ...]], wanted: str, *, force: bool) -> int:
    connection.execute("BEGIN IMMEDIATE")  # waits for a build that is writing at this moment
    try:
        if not force and (known := _up_to_date(connection, wanted)) is not None:
            connection.execute("ROLLBACK")
            return known
        connection.execute("DELETE FROM articles")
        marks = ", ".join("?" * len(COLUMNS))
        connection.executemany(f"INSERT INTO articles ({', '.join(COLUMNS)}) VALUES ({marks})", rows)
        connection.execute(
            "INSERT OR REPLACE INTO catalogue (only, fingerprint, articles) VALUES (1, ?, ?)", (wanted, len(rows))
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return len(rows)


def _rows(chosen: list[Package], advance: Advance) -> tuple[list[tuple[Any, ...]], int]:
    rows: list[tuple[Any, ...]] = []
    taken: set[int] = set()
    unreadable = 0
    for package in chosen:
        for file in package.files:
            try:
                passages = read(_module(package, file), file.read_bytes())
            except (ValueError, OSError):
                unreadable += 1
                passages = []
            rows += [_row(package, file, passage, len(rows) + i, taken) for i, passage in enumerate(passages, start=1)]
            advance(package.name)
    return rows, unreadable


def _module(package: Package, file: Path) -> str:
    parts = file.relative_to(package.root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _row(package: Package, file: Path, passage: Passage, position: int, taken: set[int]) -> tuple[Any, ...]:
    return (
        _identity(package.name, passage, taken),
        position,
        package.name,
        package.version,
        passage.module,
        str(passage.kind),
        passage.name,
        passage.title,
        passage.signature,
        passage.summary,
        passage.text,
        str(PurePosixPath(*file.relative_to(package.root).parts)),
        passage.line,
    )


def _identity(package: str, passage: Passage, taken: set[int]) -> int:
    """A number that the same passage gets in every build: bookmarks and links are kept under it.

    40 bits are short enough for an address and for JavaScript, and names hardly ever meet: one build in 100,000.
    """
    role = "module" if passage.kind == "module" else "member"
    attempt = 0
    while True:
        text = f"{package} {role} {passage.name} {attempt or ''}"
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=5).digest(), "big")
        if number not in taken:
            taken.add(number)
            return number
        attempt += 1


def articles(path: Path | None = None) -> Iterator[dict[str, Any]]:
    """Every article of the catalogue in reading order, as a dict of COLUMNS. None where there is no catalogue yet."""
    path = path or database_path()
    if not path.exists():
        return
    database.prepare(path)
    with closing(database.connect(path)) as connection:
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM articles ORDER BY position"):
            yield dict(row)


@click.command("build-catalogue")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the database. [default: PORTAL_DATA or var]")
@click.option("--force", is_flag=True, help="Build also where the catalogue is up to date.")
def build_catalogue(data: Path | None, force: bool) -> None:
    """Read the documentation of the installed packages into the portal."""
    data = data or data_folder()
    try:
        data.mkdir(parents=True, exist_ok=True)
        built = _build_with_progress(database_path(data), force=force)
    except (DataFolderError, OSError) as error:
        click.echo(f"build-catalogue: {error}", err=True)
        sys.exit(2)
    if not built.is_new:
        click.echo(f"The catalogue is up to date: {built.articles:,} articles in {data}.")
        return
    skipped = f"; {built.unreadable} files could not be read" if built.unreadable else ""
    click.echo(f"Catalogue of {built.articles:,} articles built in {built.seconds:.1f} s{skipped}.")


def _build_with_progress(path: Path, *, force: bool) -> Built:
    console = Console(stderr=True)
    if not console.is_terminal:
        return build(path, force=force, advance=_said_once())
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = sum(len(package.files) for package in packages())
        task = progress.add_task("Reading", total=total)
        return build(path, force=force, advance=lambda name: progress.update(task, advance=1, description=name))


def _said_once() -> Advance:
    """One plain line, when the first file was read: a build that has nothing to do says nothing of the kind."""
    told: list[str] = []

    def advance(package: str) -> None:
        if not told:
            click.echo("Reading the documentation of the installed packages ...", err=True)
        told.append(package)

    return advance


if __name__ == "__main__":
    build_catalogue(prog_name="python -m legacy_flask.catalogue")
