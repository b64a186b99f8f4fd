"""Gunicorn's settings. ``from graft.gunicorn import *`` is the whole gunicorn.conf.py of a project that brings an app.

What depends on the environment is read anew each time that a name is imported from here, so SIGHUP, at which Gunicorn
runs the configuration file again, takes over what has changed in ``.env`` since. A setting that is wrong ends the
process with one line and exit code 2. Graft's own gunicorn.conf.py spells the plain values out, with their reasons.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from graft import gunicorn_private as private
from graft.cli.serve import guard
from graft.cli.servers import default_workers
from graft.connection import leaving
from graft.connection.leaving import Marks
from graft.errors import GraftError
from graft.figures import folders
from graft.gateways import server as gateway_server
from graft.gateways.addresses import http_address
from graft.observe import logs
from graft.preload import preload
from graft.settings import Settings, tell

__all__ = [
    "accesslog",
    "backlog",
    "bind",
    "child_exit",
    "control_socket_disable",
    "forwarded_allow_ips",
    "graceful_timeout",
    "keepalive",
    "logconfig_dict",
    "loglevel",
    "max_requests",
    "on_exit",
    "on_starting",
    "post_fork",
    "post_worker_init",
    "preload_app",
    "timeout",
    "worker_class",
    "worker_tmp_dir",
    "workers",
]

# The values of gunicorn.conf.py, where their reasons stand; a test holds the two together.
worker_class = "uvicorn.workers.UvicornWorker"
preload_app = False
timeout = 60
keepalive = 75
backlog = 2048
max_requests = 0
accesslog = None
control_socket_disable = True

# The module of Uvicorn's worker says that a package of its own will replace it one day. It is imported here, without
# that notice, so that the process keeps its warnings filters.
with warnings.catch_warnings(), suppress(ImportError):
    warnings.filterwarnings("ignore", "The `uvicorn.workers` module is deprecated", DeprecationWarning)
    importlib.import_module("uvicorn.workers")

# Read by __getattr__, from the environment of the moment.
bind: str
workers: int
graceful_timeout: int
forwarded_allow_ips: str
loglevel: str
logconfig_dict: dict[str, Any]

# The heartbeat file in memory: on a slow disk, writing it could block a worker long enough to be taken for hung.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _bind(settings: Settings) -> str:
    """HOST and PORT. This machine only unless told otherwise: Nginx in front is what the world talks to."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _workers(settings: Settings) -> int:
    """WEB_CONCURRENCY, else one for each usable core (2 to 12): an async worker fills a core by itself."""
    return settings.workers or default_workers()


def _graceful_timeout(settings: Settings) -> int:
    """GRACEFUL_TIMEOUT, else 30: seconds for open requests and background tasks to end after SIGTERM."""
    return max(1, round(settings.graceful_timeout))


def _forwarded_allow_ips(settings: Settings) -> str:
    """FORWARDED_ALLOW_IPS: the proxies whose X-Forwarded-* headers are believed; this machine unless told otherwise."""
    return settings.forwarded_allow_ips


def _loglevel(settings: Settings) -> str:
    """LOG_LEVEL; Gunicorn knows no "trace"."""
    return "debug" if settings.log_level == "trace" else settings.log_level


_FROM_SETTINGS: dict[str, Callable[[Settings], Any]] = {
    "bind": _bind,
    "workers": _workers,
    "graceful_timeout": _graceful_timeout,
    "forwarded_allow_ips": _forwarded_allow_ips,
    "loglevel": _loglevel,
    "logconfig_dict": logs.configuration,  # Gunicorn's own lines in the shape of the gateway's (LOG_FORMAT), to stderr
}


def __getattr__(name: str) -> Any:
    if name not in _FROM_SETTINGS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _FROM_SETTINGS[name](_settings())


def _settings() -> Settings:
    with guard("__config__"):  # what Gunicorn calls its configuration file
        settings = Settings.load()
    return settings


_marks: Marks | None = None  # of the master and its workers; None where Gunicorn's inside is not the one that is known


def on_starting(server: Any) -> None:
    """Before the first worker: an empty folder in which the workers share their counters, and marks of who leaves; no
    fork that fails and no reload with broken code may end the master; and the libraries that all workers share are
    there."""
    global _marks
    private.keep_forking(server)
    private.keep_stopping(server)
    moved = private.missing(server)
    if moved is None:
        _marks = Marks()
        private.replace_leaving(server, _marks)
    else:
        server.log.warning("This release of Gunicorn has no %s: GRAFT_STREAM_GRACE is not kept", moved)
    moved = private.missing(server, private.RELOADING)
    if moved is None:
        private.try_before_reload(server)
    else:
        server.log.warning("This release of Gunicorn has no %s: a reload with broken code ends the server", moved)
    shared, folders.shared = folders.shared, None  # metrics made now are the master's, which counts nothing
    preload()
    if shared is None:
        with guard("__config__"):
            shared = folders.fresh(Settings.load().data)
    folders.shared = shared


def post_fork(server: Any, worker: Any) -> None:
    """The gateway in the worker goes by what holds here: ``--graceful-timeout`` and ``--bind`` on the command line."""
    private.keep_server(worker, _marks)
    tell(graceful_timeout=worker.cfg.graceful_timeout)
    from graft.bridge.environ import tell_processes  # not before: it looks for what Gunicorn puts into the environment

    tell_processes(worker.cfg.workers)
    names = [listener.getsockname() for listener in worker.sockets]
    for name in reversed(names):
        if isinstance(name, tuple):  # not the path of a unix socket
            tell(host=name[0], port=name[1])
    gateway_server.serves_at((_address(name, tls=worker.cfg.is_ssl) for name in names), worker.ppid)


def post_worker_init(worker: Any) -> None:
    """Four corrections to Uvicorn's worker, before it serves.

    It waits for open connections without limit: a client that never leaves would use up ``graceful_timeout``, and
    background tasks would be killed instead of being recorded as interrupted. The last seconds are the app's own; a
    worker that another one replaces has GRAFT_STREAM_GRACE: see graft/connection/leaving.py. And it closes connections
    into which a proxy is just writing, and writes each response in two pieces: see graft/connection/. And it measures
    by the wall clock when to tell Gunicorn that it lives: a clock set back an hour would have it killed. And it goes on
    when its master is gone: graft/gunicorn_private.py.
    """
    private.follow_master(worker)
    config = getattr(worker, "config", None)
    short = max(1, worker.cfg.graceful_timeout - 10)
    if config is not None and hasattr(config, "timeout_notify"):
        config.timeout_notify = float("-inf")  # with every tick of a second
    if config is not None and getattr(config, "http", None) == "auto":
        from graft.connection.chosen import HttpProtocol

        config.http = HttpProtocol
        if _marks is not None and HttpProtocol.__module__.startswith("graft."):
            grace = max(short, Settings.load().stream_grace)
            leaving.worker = leaving.Leaving(
                _marks, worker.age, grace=grace, short=short, alive=getattr(config, "callback_notify", None)
            )
    if leaving.worker is None and config is not None and getattr(config, "timeout_graceful_shutdown", 0) is None:
        config.timeout_graceful_shutdown = short


def _address(name: Any, *, tls: bool) -> str:
    """Of a listening socket, as the command line finds it there."""
    if isinstance(name, tuple):
        return http_address(name[0], name[1], tls=tls)
    return f"unix:{os.path.abspath(os.fsdecode(name))}"


def on_exit(server: Any) -> None:
    """The server has ended: ``graft`` looks for it no more."""
    with suppress(GraftError):  # .env was spoilt meanwhile
        gateway_server.remove_record(Settings.load().data)


def child_exit(server: Any, worker: Any) -> None:
    """A worker is gone: its gauges and its mark no longer count.

    An exception here would end Gunicorn with all its workers, so a folder that may no longer be written is only logged.
    """
    from prometheus_client.multiprocess import mark_process_dead

    if _marks is not None:
        _marks.clear(worker.age)
    if folders.shared is not None:
        try:
            mark_process_dead(worker.pid, str(folders.shared))  # type: ignore[no-untyped-call]
        except OSError as error:
            server.log.error("The metrics of worker %s stay as they were: %s", worker.pid, error)
