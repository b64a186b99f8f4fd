"""A Flask app that writes down what it sees of its process: at import, in create_app, in a request and at exit.

It imports nothing of graft. ``PROBE_OUT`` is the folder for what it sees, one JSON file a stage; with ``PROBE_SETS`` it
changes all that an app may change, as apps do, before it looks.
"""

from __future__ import annotations

import asyncio
import atexit
import decimal
import faulthandler
import gc
import json
import locale
import logging
import logging.handlers
import multiprocessing
import os
import queue
import random
import resource
import signal
import socket
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

from flask import Flask, request

OUT = Path(os.environ["PROBE_OUT"])
NAMED = ("shop", "shop.debug", "shop.quiet", "py.warnings", "flask", "werkzeug", "elastic_transport", "urllib3")


def see() -> dict[str, Any]:
    """All of the process that an app can notice and depend on, as JSON."""
    return {
        "random": zlib.crc32(repr(random.getstate()).encode())
        if "PROBE_SETS" in os.environ
        else None,  # else by chance
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "signals": {one.name: named(signal.getsignal(one)) for one in sorted(signal.valid_signals()) if has_name(one)},
        "blocked signals": sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "warnings": [str(each) for each in warnings.filters],
        "showwarning": named(warnings.showwarning),
        "gc": [gc.isenabled(), gc.get_threshold(), [named(each) for each in gc.callbacks], gc.get_debug()],
        "frozen": bool(gc.get_freeze_count()),
        "switch interval": sys.getswitchinterval(),
        "thread": [threading.current_thread().daemon, threading.Thread(target=int).daemon],
        "umask": next(line for line in Path("/proc/self/status").read_text().splitlines() if "Umask" in line),
        "locale": locale.setlocale(locale.LC_ALL),
        "encodings": [sys.getfilesystemencoding(), sys.stdout.encoding, sys.stderr.encoding, sys.stderr.errors],
        "streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdin is sys.__stdin__],
        "path": sys.path,
        "meta path": [named(each) for each in sys.meta_path],
        "path hooks": len(sys.path_hooks),
        "argv": sys.argv,
        "event loop policy": type(asyncio.get_event_loop_policy()).__name__,
        "hooks": [named(hook) for hook in (threading.excepthook, sys.excepthook, sys.unraisablehook, sys.displayhook)],
        "traced": [named(sys.gettrace()), named(sys.getprofile()), faulthandler.is_enabled()],
        "limits": {
            name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
        },
        "inheritable files": sorted(fd for fd in open_files() if fd > 2 and os.get_inheritable(fd)),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "flags": str(sys.flags),
        "optimised": [sys.dont_write_bytecode, __debug__, sys.getrecursionlimit(), sys.get_int_max_str_digits()],
        "stack size": threading.stack_size(),
        "decimal": [str(decimal.getcontext()), str(decimal.DefaultContext)],
        "socket timeout": socket.getdefaulttimeout(),
        "time zone": [time.tzname, time.timezone],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "main thread": threading.main_thread().name,
        "logging": see_logging(),
    }


def see_environ(environ: dict[str, Any]) -> dict[str, Any]:
    return {name: environ[name] for name in ("wsgi.multiprocess", "wsgi.multithread", "wsgi.run_once", "wsgi.version")}


def see_logging() -> dict[str, Any]:
    return {
        "root": see_logger(logging.getLogger()),
        "disabled below": logging.root.manager.disable,
        "classes": [named(logging.getLoggerClass()), named(logging.getLogRecordFactory())],
        "raises": logging.raiseExceptions,
        "loggers": {name: see_logger(logging.getLogger(name)) for name in NAMED},
        "handler names": sorted(
            name for name in getattr(logging, "_handlers", ()) if name in ("shop", "stderr", "console", "default")
        ),
        "level names": logging.getLevelName(35),
    }


def see_logger(logger: logging.Logger) -> dict[str, Any]:
    handlers = [[type(each).__name__, each.level, each.name, is_open(each)] for each in logger.handlers]
    return {"level": logger.level, "propagate": logger.propagate, "disabled": logger.disabled, "handlers": handlers}


def is_open(handler: logging.Handler) -> bool:
    return not getattr(handler, "_closed", False)


def open_files() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # the listing's own
            continue
        found.append(int(name))
    return found


def has_name(number: int) -> bool:
    return isinstance(number, signal.Signals)


def named(thing: Any) -> str:
    if thing is None or isinstance(thing, int):
        return str(thing)
    return f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def write(stage: str) -> None:
    (OUT / f"{stage}.json").write_text(json.dumps(see(), default=str))


def set_up_the_process() -> None:
    """What apps change in their process, each to a value that no server has by itself."""
    os.chdir(OUT)
    random.seed(42)
    os.environ["SHOP_STARTED"] = "yes"
    os.umask(0o027)
    signal.signal(signal.SIGUSR2, on_signal)
    signal.signal(signal.SIGHUP, on_signal)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    warnings.filterwarnings("error", "never of this shop")
    gc.set_threshold(901, 12, 11)
    gc.callbacks.append(on_collection)
    sys.setswitchinterval(0.011)
    sys.setrecursionlimit(1234)
    sys.excepthook = on_error
    threading.excepthook = on_thread_error
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    sys.path.append("/nowhere/shop")
    decimal.getcontext().prec = 17
    decimal.DefaultContext.prec = 19
    socket.setdefaulttimeout(77.0)
    multiprocessing.set_start_method("spawn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def set_up_logging() -> None:
    logging.basicConfig(filename=OUT / "root.log", level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger().addHandler(Intercepting())
    logging.captureWarnings(True)
    logging.addLevelName(35, "NOTICE")
    handlers: dict[str, logging.Handler] = {
        "file": logging.FileHandler(OUT / "file.log"),
        "named": logging.FileHandler(OUT / "named.log"),
        "rotating": logging.handlers.RotatingFileHandler(OUT / "rotating.log", maxBytes=100_000, backupCount=2),
        "memory": logging.handlers.MemoryHandler(1, target=logging.FileHandler(OUT / "memory.log")),
        "queue": logging.handlers.QueueHandler(QUEUE),
    }
    handlers["named"].name = "shop"
    for handler in handlers.values():
        logging.getLogger("shop").addHandler(handler)
    logging.getLogger("shop.debug").setLevel(logging.DEBUG)
    logging.getLogger("shop.quiet").propagate = False
    LISTENER.start()


class Intercepting(logging.Handler):
    """As loguru's recipe: the root logger's records go elsewhere."""

    def emit(self, record: logging.LogRecord) -> None:
        with (OUT / "intercepted.log").open("a") as file:
            file.write(f"{record.name} {record.getMessage()}\n")


def on_signal(*_: Any) -> None: ...
def on_collection(*_: Any) -> None: ...
def on_error(*_: Any) -> None: ...
def on_thread_error(*_: Any) -> None: ...


QUEUE: queue.Queue[Any] = queue.Queue()
LISTENER = logging.handlers.QueueListener(QUEUE, logging.FileHandler(OUT / "listened.log"))

if "PROBE_SETS" in os.environ:
    set_up_the_process()
    set_up_logging()
write("import")
atexit.register(write, "exit")


def send(what: str) -> None:
    while not (OUT / "stopping").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    (OUT / what).touch()


def create_app() -> Flask:
    app = Flask(__name__)
    write("create_app")

    @app.get("/")
    def look() -> str:
        (OUT / "request.json").write_text(json.dumps(see() | see_environ(request.environ), default=str))
        for name in ("shop", "shop.debug"):
            logging.getLogger(name).debug("debug of %s", name)
            logging.getLogger(name).info("info of %s", name)
        warnings.warn("a warning of the shop", UserWarning, stacklevel=1)
        app.logger.warning("the app's own warning")
        return "looked"

    @app.get("/mail")
    def mail() -> str:
        threading.Thread(target=send, args=("mail",)).start()
        return "queued"

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.get("/prometheus")
    def prometheus() -> str:
        from prometheus_client import values

        return f"{os.environ.get('PROMETHEUS_MULTIPROC_DIR')} {values.ValueClass.__name__}"

    @app.get("/random")
    def chance() -> str:
        return f"{os.getpid()} {random.random()}"

    return app
