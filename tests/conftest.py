"""Fixtures that every test may use. Parts that are programs of their own live in tests/parts/."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from graft import settings as graft_settings
from graft.figures.prometheus import REGISTRY
from graft.figures.recorder import RECORDER
from graft.gateways import places
from graft.gateways import server as gateway_server

pytest_plugins = ["tests.parts.elasticsearch", "tests.parts.site"]

# Where gateways say that they run: those of the tests are nobody else's, and no test finds one of the machine.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="graft-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)

settings.register_profile(
    "graft", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("graft")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def metric() -> Callable[..., float]:
    """Reads one sample of this process's metrics; 0 when there is none yet."""

    def read(name: str, **labels: str) -> float:
        RECORDER.flush()
        return REGISTRY.get_sample_value(name, labels) or 0.0

    return read


@pytest.fixture(autouse=True)
def _gateways_of_these_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds the gateway of somebody else who works on this machine."""
    monkeypatch.setattr(places, "temporary", lambda: Path(os.environ["XDG_RUNTIME_DIR"], "graft-tmp"))


@pytest.fixture(autouse=True)
def _settings_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server tells the settings of its process stays there. A gateway in this process shares its time with the
    tests, which would leave its mirrors little."""
    monkeypatch.setattr(graft_settings, "_told", {})
    monkeypatch.setattr(gateway_server, "_addresses", None)
    monkeypatch.setattr(gateway_server, "_server", None)
    monkeypatch.setenv("GRAFT_MIRROR_BUDGET", "100")


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """A command becomes as the gateway that it means: in its folder, with its environment."""
    environment, path, folder = dict(os.environ), list(sys.path), Path.cwd()
    yield
    os.chdir(folder)
    for name in os.environ.keys() - environment.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value and name != "PYTEST_CURRENT_TEST":
            os.environ[name] = value
    sys.path[:] = path


@pytest.fixture(autouse=True)
def _event_streams_as_before() -> Iterator[None]:
    """A server of a test that is told to end tells sse-starlette, which would end the streams of all later tests."""
    yield
    if (sse := sys.modules.get("sse_starlette.sse")) is not None:
        sse.AppStatus.should_exit = False


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """A gateway's lifespan sets up its loggers for the process; pytest's own handler would hear nothing after it."""
    loggers = [logging.getLogger(name) for name in ("graft", "uvicorn", "uvicorn.error", "gunicorn.error")]
    before = [(logger, logger.propagate, logger.level, list(logger.handlers)) for logger in loggers]
    last_resort = logging.lastResort
    yield
    logging.lastResort = last_resort
    for logger, propagate, level, handlers in before:
        logger.propagate, logger.handlers = propagate, handlers
        logger.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several test processes: all tests of the one real Elasticsearch in one of them, so that it starts once."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {}).values()
        if "real_elasticsearch" in getattr(item, "fixturenames", ()) or "real" in params:
            item.add_marker(pytest.mark.xdist_group("elasticsearch"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests have counted by ``record_property``, each on a line of its own."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in getattr(report, "user_properties", ()):
            terminalreporter.write_line(f"{value} {name} ({report.nodeid})")
