"""The servers that are compared: Graft as it is run, and its peers, one process each."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

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


def _gunicorn(config: Path, *rest: str) -> tuple[str, ...]:
    options = ("-w", "1", "-b", "127.0.0.1:{port}", "--log-level", "error", "--keep-alive", "60")
    return (f"{BIN}/gunicorn", "-c", str(config), *options, *rest)


def uvicorn_worker(app: str, config: Path = DEFAULTS) -> tuple[str, ...]:
    return _gunicorn(config, "-k", "uvicorn.workers.UvicornWorker", app)


def uvicorn(app: str, *more: str) -> tuple[str, ...]:
    """Without a process manager; the gateway is given the option that ``python gateway.py`` gives it."""
    options = ("--port", "{port}", "--log-level", "error", "--no-access-log", "--timeout-keep-alive", "60")
    return (sys.executable, "-m", "uvicorn", *options, *more, app)


def graft(
    native: str = NATIVE, probe: str = "/small", command: tuple[str, ...] = uvicorn_worker("gateway:app", OURS)
) -> Contender:
    """The gateway of this repository with the benchmark's Flask app and the native routes of one module."""
    environment = {
        "GRAFT_LEGACY": LEGACY,
        "GRAFT_NATIVE": native,
        "GRAFT_DATA": "{folder}/var",
        "GRAFT_SWITCHES": "{folder}/switches.toml",
        "LOG_LEVEL": "error",
    }
    return Contender("graft", command, probe, tuple(environment.items()))


def gthread(app: str = LEGACY, probe: str = "/small") -> Contender:
    return Contender("gunicorn gthread", _gunicorn(DEFAULTS, "-k", "gthread", "--threads", "16", app), probe)


GRAFT = graft()
GTHREAD = gthread()
PLAIN = Contender("plain a2wsgi", uvicorn_worker("benchmarks.apps.mounted:plain"))
INLINE = Contender("limit, Flask inline", uvicorn_worker("benchmarks.apps.inline:app"))
GRANIAN = Contender(
    "granian",
    (
        f"{BIN}/granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "16",
        "--port", "{port}", "--no-access-log", "--log-level", "error", LEGACY,
    ),
)  # fmt: skip
