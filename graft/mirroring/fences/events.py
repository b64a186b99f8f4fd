"""What Python tells by audit events (PEP 578): files, processes, threads, SMTP, http.client, SQLite's connections.

One hook sees them in all code, also from inside C extensions that go through Python's own functions; nothing is wrapped
or replaced. It can't be taken out again. Outside of mirrored work it returns after a look-up in a dict, and for the few
events that are watched a look at a ContextVar.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from graft.mirroring.fence import Kind, Tried, current
from graft.mirroring.fences import callers

Arguments = tuple[Any, ...]
Judge = Callable[[Tried, Arguments], str | None]
"""What was tried, in words; None for what changes nothing."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_DEVICES = ("/dev/", "/proc/self/")
_TEMPORARY = frozenset({"/tmp", "/var/tmp", "/dev/shm"})
"""Where temporary files have their place, beside ``tempfile.tempdir``, which is known once there was one."""
_SHELLS = ("sh", "bash", "zsh", "dash", "ksh")
_REQUEST_LINE = re.compile(rb"([A-Za-z]+) [^\r\n]* HTTP/1\.\d\r\n")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "REPORT", "SEARCH", "QUERY"})


def hook(event: str, arguments: Arguments) -> None:
    """For ``sys.addaudithook``. (any thread, any code)"""
    watched = _WATCHED.get(event)
    if watched is None or (run := current.get()) is None:
        return
    kind, judge = watched
    if kind is None:
        judge(run, arguments)
    elif run.refuses(kind) and (what := judge(run, arguments)) is not None and not callers.is_excused(kind):
        raise run.refuse(what)


# Files. That a path is not there, or there already, is for the call itself to say.


def _opened(run: Tried, arguments: Arguments) -> str | None:
    path, mode, flags = arguments
    # What ``open`` is given says more than its flags, which an ``opener`` need not use.
    writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITES)
    return _named(run, "write the file", path) if writes else None


def _changed(verb: str, folder: int | None = -1) -> Judge:
    """``folder``: which argument is the open folder that the path is relative to, -1 where it is none."""

    def judge(run: Tried, arguments: Arguments) -> str | None:
        path = _placed(arguments[0], arguments[folder] if folder is not None else -1)
        return _named(run, verb, path) if _exists(path) else None

    return judge


def _made(run: Tried, arguments: Arguments) -> str | None:
    path = _placed(arguments[0], arguments[2])
    return None if _exists(path) else _named(run, "make the folder", path)


def _renamed(run: Tried, arguments: Arguments) -> str | None:
    source, target = _placed(arguments[0], arguments[2]), _placed(arguments[1], arguments[3])
    if not _exists(source):
        return None
    return _named(run, "rename a file to", target) or _named(run, "rename the file", source)


def _linked(run: Tried, arguments: Arguments) -> str | None:
    return _named(run, "make the link", _placed(arguments[1], arguments[-1]))


def _placed(path: Any, folder: int) -> Any:
    """The whole path of one that is relative to an open folder, as ``shutil.rmtree`` has them."""
    if folder == -1 or isinstance(path, int) or os.path.isabs(path):
        return path
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), _text(path))
    except OSError:  # no Linux: it is taken for one that is there
        return folder


def _named(run: Tried, verb: str, path: Any) -> str | None:
    text = _text(path)
    if text.startswith(_DEVICES) or "__pycache__" in text or text.endswith(".pyc") or _is_own(run, text):
        return None
    return f"{verb} {text}"


def _is_own(run: Tried, path: str) -> bool:
    return any(path == own or path.startswith(own + os.sep) for own in run.own_files)


def _text(path: Any) -> str:
    return str(path) if isinstance(path, int) else os.fsdecode(path)


def _exists(path: Any) -> bool:
    return os.path.lexists(path) if not isinstance(path, int) else True


def _own(run: Tried, arguments: Arguments) -> None:
    """Of tempfile, for a name that is made up. Where temporary files have their place, it is the run's own. Elsewhere
    others look, list and run out of room: it is a file like any other, as is one beside the file that it is to replace.
    """
    path = _text(arguments[0])
    is_elsewhere = os.path.dirname(path) not in _TEMPORARY | {tempfile.tempdir} and not _is_own(run, path)
    if is_elsewhere and run.refuses(Kind.FILES) and not callers.is_excused(Kind.FILES, asking="tempfile"):
        raise run.refuse(f"write the file {path}")
    run.own_files.add(path)


# Processes and threads


def _program(run: Tried, arguments: Arguments) -> str | None:
    """Of ``subprocess.Popen``: the executable, and the arguments, as a list or, on Windows, a text."""
    words = arguments[1]
    if isinstance(words, (str, bytes)):
        return _running(words)
    is_shell = len(words) > 2 and os.fsdecode(words[1]) == "-c" and os.path.basename(_text(words[0])) in _SHELLS
    return _running(_text(words[2] if is_shell else arguments[0] or words[0]))


def _command(run: Tried, arguments: Arguments) -> str | None:
    return _running(arguments[0])


def _spawned(run: Tried, arguments: Arguments) -> str | None:
    return _running(arguments[1])


def _spawned_in_pty(run: Tried, arguments: Arguments) -> str | None:
    return _running(arguments[0][0])


def _running(program: Any) -> str:
    text = program if isinstance(program, str) else os.fsdecode(program)
    words = text.split(None, 1)
    return f"run the program {os.path.basename(words[0]) if words else text}"


def _forked(run: Tried, arguments: Arguments) -> str | None:
    return "start another process"


def _signalled(run: Tried, arguments: Arguments) -> str | None:
    return "send a signal to a process" if arguments[1] else None


def _threaded(run: Tried, arguments: Arguments) -> str | None:
    """Told by Python 3.12 and later. ``Thread.start`` is seen by ``jobs`` in every version."""
    return None if callers.starts_pool_thread() else f"start a thread for {callers.name_of(arguments[0])}"


# The net


def _mailed(run: Tried, arguments: Arguments) -> str | None:
    return f"send mail through {arguments[1]}"


def _said_to_mail_server(run: Tried, arguments: Arguments) -> str | None:
    return "send mail"


def _requested(run: Tried, arguments: Arguments) -> str | None:
    """Of ``http.client.send``: a connection and what it sends, of which the first piece is the head of the request."""
    connection, data = arguments
    if not isinstance(data, (bytes, bytearray)) or (line := _REQUEST_LINE.match(data)) is None:
        return None
    method = line[1].decode("ascii").upper()
    return None if method in SAFE_METHODS else f"send {method} to {connection.host}"


def _connected(run: Tried, arguments: Arguments) -> str | None:
    """Of ``sqlite3.connect``, which makes the file where there is none."""
    path = _database_file(arguments[0])
    return None if path is None or os.path.exists(path) or _is_own(run, path) else f"make the database {path}"


def _database_file(name: Any) -> str | None:
    """The file that is made if it is not there."""
    path = os.fsdecode(name)
    if path.startswith("file:"):
        parts = urlsplit(path)
        options = parse_qs(parts.query)
        if options.get("mode", ["rwc"])[-1] != "rwc" or "vfs" in options:
            return None
        path = unquote(parts.path)
    return path if path not in ("", ":memory:") else None


def _opened_database(run: Tried, arguments: Arguments) -> None:
    run.own_databases.append(arguments[0])


def _imported(run: Tried, arguments: Arguments) -> None:
    # Not at the top: watching imports this module.
    from graft.mirroring.fences.watching import imports

    imports(arguments[0])


_WATCHED: dict[str, tuple[Kind | None, Callable[[Tried, Arguments], Any]]] = {
    "open": (Kind.FILES, _opened),
    "os.remove": (Kind.FILES, _changed("delete the file")),
    "os.rmdir": (Kind.FILES, _changed("delete the folder")),
    "os.truncate": (Kind.FILES, _changed("cut the file", None)),
    "os.chmod": (Kind.FILES, _changed("change the mode of")),
    "os.chown": (Kind.FILES, _changed("change the owner of")),
    "os.utime": (Kind.FILES, _changed("change the times of")),
    "os.setxattr": (Kind.FILES, _changed("change attributes of", None)),
    "os.removexattr": (Kind.FILES, _changed("change attributes of", None)),
    "os.rename": (Kind.FILES, _renamed),
    "os.mkdir": (Kind.FILES, _made),
    "os.link": (Kind.FILES, _linked),
    "os.symlink": (Kind.FILES, _linked),
    "tempfile.mkstemp": (None, _own),
    "tempfile.mkdtemp": (None, _own),
    "subprocess.Popen": (Kind.PROCESSES, _program),
    "os.system": (Kind.PROCESSES, _command),
    "os.exec": (Kind.PROCESSES, _command),
    "os.posix_spawn": (Kind.PROCESSES, _command),
    "os.spawn": (Kind.PROCESSES, _spawned),
    "pty.spawn": (Kind.PROCESSES, _spawned_in_pty),
    "os.fork": (Kind.PROCESSES, _forked),
    "os.forkpty": (Kind.PROCESSES, _forked),
    "os.kill": (Kind.PROCESSES, _signalled),
    "os.killpg": (Kind.PROCESSES, _signalled),
    "_thread.start_new_thread": (Kind.TASKS, _threaded),
    "_thread.start_joinable_thread": (Kind.TASKS, _threaded),
    "smtplib.connect": (Kind.MAIL, _mailed),
    "smtplib.send": (Kind.MAIL, _said_to_mail_server),
    "http.client.send": (Kind.HTTP, _requested),
    "sqlite3.connect": (Kind.DATABASE, _connected),
    "sqlite3.connect/handle": (None, _opened_database),
    "import": (None, _imported),
}


def install() -> None:
    sys.addaudithook(hook)
