"""What each worker counted about routes, in one file a worker, in the folder that the workers share.

A file is replaced as a whole, so a reader never sees half of one; it is what one process counted since it started, and
stays when that is gone. Writing goes on after a full disk, and after somebody has deleted the folder: each file has
everything.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from graft.figures import folders
from graft.figures.route_figures import Latency, RouteFigures
from graft.figures.route_metrics import RouteMetrics
from graft.types import Side

SUFFIX = ".figures"

T = TypeVar("T")

log = logging.getLogger("graft")

_own: tuple[int, str] = (0, "")
_written = "", b""
_failing = False
_writing = threading.Lock()


def write(figures: Mapping[str, RouteFigures], metrics: bytes) -> None:
    """Replace this process's file. Does nothing where the workers share no folder; says in the log, once, when it can't
    be written. (any thread)"""
    global _written
    if folders.shared is None:
        return
    with _writing:  # a slow disk, and the next call is there: two would write the same draft
        data = {route: compact(each) for route, each in figures.items()}
        _written = _name(), orjson.dumps({"figures": data, "metrics": orjson.Fragment(metrics)})
        _replace(folders.shared, *_written)


def restore() -> None:
    """See that this process's file is there: somebody may have deleted it. (any thread)"""
    with _writing:
        if folders.shared is not None and _written[0] == _name() and not (folders.shared / _name()).exists():
            _replace(folders.shared, *_written)


def _replace(folder: Path, name: str, content: bytes) -> None:
    global _failing
    path = folder / name
    draft = path.with_suffix(".draft")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
        _failing = False
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        if not _failing:
            _failing = True
            log.error("%s can't be written: %s. The figures of this worker miss what comes from now on", path, error)


def read(folder: Path) -> Iterator[dict[str, RouteFigures]]:
    """What each process counted, but for this one; the one that wrote last comes last. Raises OSError."""
    return _parsed(folder, lambda data: {route: of_compact(each) for route, each in data["figures"].items()})


def read_metrics(folder: Path) -> Iterator[RouteMetrics]:
    """The same for the metrics."""
    return _parsed(folder, lambda data: RouteMetrics(data["metrics"]["counters"], data["metrics"]["histograms"]))


def _parsed(folder: Path, parse: Callable[[Any], T]) -> Iterator[T]:
    """Leaves out, with a line in the log, what is no such file."""
    for path in sorted((path for path in folder.glob(f"*{SUFFIX}") if path.name != _name()), key=_changed):
        try:
            yield parse(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            continue
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s can't be read: %s", path, error)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def compact(figures: RouteFigures) -> dict[str, Any]:
    """Plain data, which ``of_compact`` reads. Pydantic would take ten times as long, for some hundred routes with some
    hundred bins each."""
    return {
        "served": {side.value: count for side, count in figures.served.items()},
        "failed": figures.native_failed,
        "latency": {side.value: [list(each.bins), list(each.bins.values())] for side, each in figures.latency.items()},
        "mirrored": figures.mirrored,
        "statuses": {side.value: counts for side, counts in figures.statuses.items()},
        "build": figures.build,
    }


def of_compact(data: Any) -> RouteFigures:
    """Raises ValueError, LookupError, TypeError or AttributeError for what is none."""
    return RouteFigures(
        {Side(side): count for side, count in data["served"].items()},
        data["failed"],
        {Side(side): Latency(dict(zip(*bins, strict=True))) for side, bins in data["latency"].items()},
        data["mirrored"],
        {Side(side): counts for side, counts in data["statuses"].items()},
        data["build"],
    )


def _name() -> str:
    """Of this process alone: a number of a process comes again."""
    global _own
    if _own[0] != os.getpid():
        _own = os.getpid(), f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    return _own[1]
