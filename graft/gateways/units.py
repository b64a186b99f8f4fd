"""Services that are set up on this machine and do not run now: what their unit says of the gateway in it.

Read from the files of systemd and supervisor, with no need of their tools. Only units that start a gateway count.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

__all__ = ["SUPERVISOR", "SYSTEMD", "Unit", "units"]

SYSTEMD = (Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/usr/local/lib/systemd/system"))
SUPERVISOR = (Path("/etc/supervisor/conf.d"), Path("/etc/supervisord.d"))

_STARTS_A_GATEWAY = re.compile(r"\bgateway(:app\b|\.py\b)")


@dataclass(frozen=True)
class Unit:
    """One service: its file, the folder that it starts in, and what it sets itself, beside environment files."""

    file: Path
    folder: Path | None
    values: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """What the service starts with. Raises PermissionError for a file that this user may not read."""
        environment = dict(self.values)
        for file in self.files:
            environment.update(_of_file(file))
        return environment


def units() -> Iterator[Unit]:
    """Every unit of a gateway that this user may read."""
    for place in (*SYSTEMD, Path.home() / ".config/systemd/user"):
        for file in _files(place, "*.service"):
            yield from _systemd(file)
    for place in SUPERVISOR:
        for pattern in ("*.conf", "*.ini"):
            for file in _files(place, pattern):
                yield from _supervisor(file)


def _files(place: Path, pattern: str) -> Iterable[Path]:
    with suppress(OSError):
        return sorted(place.glob(pattern))
    return ()


def _systemd(file: Path) -> Iterator[Unit]:
    """The unit with its drop-ins; as in systemd, a later line wins, and an empty one takes back what stood before."""
    values: dict[str, list[str]] = {}
    for each in (file, *_files(file.with_name(f"{file.name}.d"), "*.conf")):
        for name, value in _assignments(_text(each)):
            if value:
                values.setdefault(name, []).append(value)
            else:
                values.pop(name, None)
    if not any(_STARTS_A_GATEWAY.search(command) for command in values.get("ExecStart", ())):
        return
    environment: dict[str, str] = {}
    for line in values.get("Environment", ()):
        environment.update(_pairs(_words(line)))
    files = tuple(Path(name.removeprefix("-")) for name in values.get("EnvironmentFile", ()))
    folders = values.get("WorkingDirectory", [])
    yield Unit(file, Path(folders[-1].removeprefix("-")) if folders else None, environment, files)


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            yield name.strip(), value.strip()


def _supervisor(file: Path) -> Iterator[Unit]:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;", "\t;"), strict=False)
    try:
        parser.read_string(_text(file))
    except configparser.Error:
        return
    for name in parser.sections():
        section = parser[name]
        if name.startswith("program:") and _STARTS_A_GATEWAY.search(section.get("command", "")):
            folder = section.get("directory")
            words = _words(section.get("environment", ""), ",")
            yield Unit(file, Path(folder) if folder else None, _pairs(words))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # of a service that is nobody's business
        return ""


def _words(line: str, separator: str = "") -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace += separator
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # a quotation that does not end
        return []


def _pairs(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def _of_file(file: Path) -> dict[str, str]:
    try:
        with file.open(encoding="utf-8") as stream:
            values = dotenv_values(stream=stream, interpolate=False)
    except FileNotFoundError:
        return {}
    return {name: value for name, value in values.items() if value is not None}
