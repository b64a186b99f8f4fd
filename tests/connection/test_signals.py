from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from uvicorn.config import Config
from uvicorn.server import Server

from graft.connection.signals import ending_by_return, handled_by_the_app


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def _app(scope: object, receive: object, send: object) -> None: ...


def test_a_signal_drains_uvicorn_which_raises_none_afterwards() -> None:
    server = Server(Config(_app))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what Uvicorn would raise it into: the end of this test
    with server.capture_signals(), ending_by_return():
        signal.raise_signal(signal.SIGTERM)
        assert (server.should_exit, server.force_exit) == (True, False)
        signal.raise_signal(signal.SIGINT)
        assert server.force_exit
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_app_is_called_when_the_server_has_drained() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    handled = handled_by_the_app()
    server = Server(Config(_app))
    with server.capture_signals(), ending_by_return(handled):
        signal.raise_signal(signal.SIGTERM)
        assert (server.should_exit, heard) == (True, [])
    assert handled == {signal.SIGTERM}
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("patched", [False, True])
def test_the_servers_own_handlers_are_not_the_apps(patched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what sse-starlette puts in their place, for all servers of the process."""
    if patched:
        monkeypatch.setattr(Server, "handle_exit", lambda server, number, frame: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert handled_by_the_app() == frozenset()
    with Server(Config(_app)).capture_signals():
        assert handled_by_the_app() == frozenset()
