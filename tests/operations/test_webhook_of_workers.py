"""What changes under Gunicorn with several workers is in the history and at the webhook once."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from graft.operations.file_state import FileState
from graft.operations.shift import shift
from graft.types import RouteKey
from tests.deploy.running import site
from tests.parts import free_port, wait_until

pytestmark = pytest.mark.slow

KEY = RouteKey("POST", "/write")


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    taken: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["data"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_edit_a_trip_and_a_command_of_one_host_are_each_told_once(tmp_path: Path) -> None:
    switches = tmp_path / "switches.toml"
    switches.write_text('["POST /write"]\nshare = 50\n')
    bind = f"127.0.0.1:{free_port()}"
    with receiver() as (url, taken):
        env = {
            "GRAFT_LEGACY": "tests.switching.failing:app",
            "GRAFT_NATIVE": "tests.switching.failing.native",
            "GRAFT_WEBHOOK": url,
            "NO_PROXY": "127.0.0.1",
        }
        with site(tmp_path, bind, "--workers", "4", ready="/read", **env):
            state = FileState(switches, tmp_path / "var")
            wait_until((tmp_path / "var" / "webhook.json").exists, 30, "the webhook to be followed")
            switches.write_text('["POST /write"]\nshare = 100\n')
            wait_until(lambda: len(taken) == 1, 30, "the edit")

            def trips() -> bool:
                httpx.post(f"http://{bind}/write", headers={"x-fail": "1"})
                return len(state.history()) == 2

            wait_until(trips, 30, "the trip")
            shift(state, KEY, 1, by="alice")
            wait_until(lambda: len(taken) == 3, 30, "the command")
            wait_until(lambda: len(state.history()) == 3, 5, "three events in the history")
        told = [(each["operation"], each["from"]["share"], each["to"]["share"]) for each in taken]
        assert told == [("edit", 50, 100), ("trip", 100, 0), ("shift", 0, 1)]
        assert [each["id"] for each in taken] == [event.id for event in reversed(state.history())]
