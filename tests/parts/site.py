"""A whole gateway in this process, over a Flask app and native modules that a test writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import graft

OpenGateway = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def open_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenGateway]:
    """``open_gateway(legacy, switches="", **modules)``: a client of the gateway over a Flask app and native modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    @contextmanager
    def open_(legacy: str, switches: str = "", **modules: str) -> Iterator[TestClient]:
        (tmp_path / "shop.py").write_text(legacy)
        (tmp_path / "switches.toml").write_text(switches)
        natives = tmp_path / "natives"
        natives.mkdir(exist_ok=True)
        (natives / "__init__.py").touch()
        for name, source in modules.items():
            (natives / f"{name}.py").write_text(source)
        gateway: Any = graft.gateway(legacy="shop:app", native="natives", serve=False)
        with TestClient(gateway, raise_server_exceptions=False, follow_redirects=False) as client:
            yield client

    yield open_
    for name in [name for name in sys.modules if name.partition(".")[0] in ("natives", "shop")]:
        del sys.modules[name]
