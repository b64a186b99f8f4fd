"""HAR 1.2 files: the format in which browsers and proxies keep what they saw.

``HarFile`` is whole after each exchange: one more goes where the end stood, so that a reader, and a gateway that was
killed, leave a file that opens. One line an exchange. The functions block.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import graft
from graft.errors import GraftError
from graft.recordings.exchange import Exchange

_TAIL = b"\n]}}\n"
_OURS = "_graft"
"""The field of an entry that HAR leaves to us: names with an underscore are no part of the format."""


class RecordingsError(GraftError):
    """There are no recordings where they are looked for, or they are none."""


class HarFile:
    """A new file at ``path``, for this user alone, whose folder has to be there. Raises OSError, FileExistsError too.

    One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = FileIO(descriptor, "r+")
        creator = {"name": "graft", "version": graft.__version__}
        head = json.dumps({"log": {"version": "1.2", "creator": creator, "pages": [], "entries": []}})
        self._file.write(head.removesuffix("]}}").encode() + _TAIL)
        self.count = 0
        self.size = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        """One more, a line that ``entry`` made. Raises OSError; the file then ends as it did before."""
        content = (b",\n" if self.count else b"\n") + line + _TAIL
        start = self.size - len(_TAIL)
        try:
            self._file.seek(start)
            written = self._file.write(content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.seek(start)
            self._file.write(_TAIL)
            self._file.truncate(self.size)
            raise
        self.count += 1
        self.size = start + len(content)


def entry(exchange: Exchange) -> bytes:
    """One line of JSON."""
    parts = urlsplit(exchange.url)
    request: dict[str, Any] = {
        "method": exchange.method,
        "url": exchange.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in exchange.headers],
        "queryString": [{"name": name, "value": value} for name, value in parse_qsl(parts.query, True)],
        "headersSize": -1,
        "bodySize": len((exchange.body or "").encode()),
    }
    if exchange.body is not None:
        request["postData"] = {"mimeType": exchange.header("content-type") or "", "text": exchange.body}
    answer = exchange.answer or ""
    response = {
        "status": exchange.status,
        "statusText": HTTPStatus(exchange.status).phrase if exchange.status in _KNOWN else "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in exchange.answer_headers],
        "content": {"size": len(answer.encode()), "mimeType": exchange.answer_type, "text": answer},
        "redirectURL": next((value for name, value in exchange.answer_headers if name.lower() == "location"), ""),
        "headersSize": -1,
        "bodySize": -1,
    }
    made = {
        "startedDateTime": exchange.at,
        "time": exchange.milliseconds,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": exchange.milliseconds, "receive": 0},
        _OURS: {"route": exchange.route, "cut": exchange.cut},
    }
    return json.dumps(made, ensure_ascii=False).encode("utf-8", "replace")


_KNOWN = frozenset(HTTPStatus)


def entries(path: Path) -> list[dict[str, Any]]:
    """The entries of one file, of whoever made it. Raises RecordingsError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        found = data["log"]["entries"]
    except OSError as error:
        raise RecordingsError(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, LookupError, TypeError):
        raise RecordingsError(f"{path} is no HAR file. Export it again, as HAR with content.") from None
    return [each for each in found if isinstance(each, dict)]


def exchange_of(found: dict[str, Any]) -> Exchange:
    """One entry that ``entry`` wrote. Raises LookupError, TypeError or ValueError for another one."""
    request, response = found["request"], found["response"]
    ours = found.get(_OURS, {})
    content = response.get("content", {})
    return Exchange(
        method=str(request["method"]).upper(),
        url=str(request["url"]),
        headers=_named(request.get("headers", [])),
        body=request["postData"].get("text") if "postData" in request else None,
        status=int(response["status"]),
        answer_headers=_named(response.get("headers", [])),
        answer=content.get("text") or None,
        at=str(found.get("startedDateTime", "")),
        milliseconds=float(found.get("time") or 0),
        route=ours.get("route"),
        cut=bool(ours.get("cut")),
    )


def _named(pairs: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(pair["name"]), str(pair["value"])) for pair in pairs)


def har_files(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files themselves, and those in folders, by name; nothing of a folder that is not there."""
    for path in paths:
        yield from [path] if path.is_file() else sorted(path.glob("*.har"))


def read_recordings(*paths: Path) -> list[Exchange]:
    """All exchanges of files and folders, in the order in which they were asked. Each input once, with each status.

    Raises RecordingsError where there is no file, or one is no HAR file.
    """
    files = list(har_files(paths))
    if not files:
        where = " or ".join(map(str, paths))
        raise RecordingsError(f"No recordings are in {where}. Make some: graft record, or graft record --import FILE.")
    found: dict[tuple[str, str, str | None, int], Exchange] = {}
    for path in files:
        for each in entries(path):
            try:
                exchange = exchange_of(each)
            except (LookupError, TypeError, ValueError):
                continue  # a request that a browser gave up has no status, and other tools leave out more
            found.setdefault(exchange.input, exchange)
    return sorted(found.values(), key=lambda exchange: exchange.at)


@dataclass(frozen=True)
class Written:
    """What one file has."""

    path: Path
    exchanges: int
    size: int


def write_recordings(path: Path, exchanges: list[Exchange]) -> Written:
    """A new file with these. Raises RecordingsError where it can't be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with HarFile(path) as file:
            for each in exchanges:
                file.add(entry(each))
            return Written(path, file.count, file.size)
    except OSError as error:
        raise RecordingsError(f"{path} can't be written: {error.strerror}. Name another place by --out.") from None
