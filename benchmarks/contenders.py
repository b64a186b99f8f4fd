"""The servers that are compared: Graft as it is run, and its peers, one process each.

Each writes its access log, as it does where nobody says otherwise; into a file. The quiet ones don't.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OURS = ROOT / "gunicorn.conf.py"
# No settings at all: without a file named, Gunicorn as a peer would pick up the gateway's.
DEFAULTS = ROOT / "benchmarks/apps/gunicorn_defaults.py"
LEGACY = "benchmarks.apps.legacy:app"
NATIVE = "benchmarks.apps.native"


@dataclass(frozen=True)
class Contender:
    """A server: ``command`` has ``{port}`` in it, values of ``environment`` may have ``{folder}``, which is its own.

    It is up when ``probe`` is answered with 200.
    """

    name: str
    command: tuple[str, ...]
    probe: str = "/small"
    environment: tuple[tuple[str, str], ...] = ()


def gunicorn(kind: str, *rest: str, config: Path = DEFAULTS, quiet: bool = False) -> tuple[str, ...]:
    """With workers of one ``kind``. The gateway writes an access log of its own."""
    options = ("-w", "1", "-b", "127.0.0.1:{port}", "--log-level", "error", "--keep-alive", "60")
    log = () if quiet or config is OURS else ("--access-logfile", "-")
    return (f"{BIN}/gunicorn", "-c", str(config), "-k", kind, *options, *log, *rest)


def uvicorn_worker(app: str, config: Path = DEFAULTS) -> tuple[str, ...]:
    return gunicorn("uvicorn.workers.UvicornWorker", app, config=config)


def uvicorn(app: str, *more: str) -> tuple[str, ...]:
    """Without a process manager; the gateway is given the option that ``python gateway.py`` gives it."""
    return (sys.executable, "-m", "uvicorn", "--port", "{port}", "--timeout-keep-alive", "60", *more, app)


def graft(
    native: str = NATIVE,
    probe: str = "/small",
    command: tuple[str, ...] = uvicorn_worker("gateway:app", OURS),
    name: str = "graft",
    more: Mapping[str, str] = MappingProxyType({}),
) -> Contender:
    """The gateway of this repository with the benchmark's Flask app and the native routes of one module.

    ``more`` goes into its environment.
    """
    environment = {
        "GRAFT_LEGACY": LEGACY,
        "GRAFT_NATIVE": native,
        "GRAFT_DATA": "{folder}/var",
        "GRAFT_SWITCHES": "{folder}/switches.toml",
        **more,
    }
    return Contender(name, command, probe, tuple(environment.items()))


def gthread(app: str = LEGACY, probe: str = "/small", *, quiet: bool = False) -> Contender:
    return Contender("gunicorn gthread", gunicorn("gthread", "--threads", "16", app, quiet=quiet), probe)


def granian(interface: str, app: str, probe: str, *more: str, quiet: bool = False) -> Contender:
    options = ("--interface", interface, "--workers", "1", *more, "--port", "{port}", "--log-level", "info")
    log = "--no-access-log" if quiet else "--access-log"
    return Contender("granian", (f"{BIN}/granian", *options, log, app), probe)


def granian_wsgi(*, quiet: bool = False) -> Contender:
    return granian("wsgi", LEGACY, "/small", "--blocking-threads", "16", quiet=quiet)


GRAFT = graft()
GTHREAD = gthread()
PLAIN = Contender("plain a2wsgi", uvicorn_worker("benchmarks.apps.mounted:plain"))
INLINE = Contender("limit, Flask inline", uvicorn_worker("benchmarks.apps.inline:app"))
GRANIAN = granian_wsgi()
