"""Which functions of ``graft`` a request enters. A program: it serves ``tests.docs.small_site`` and prints JSON.

``python -m tests.docs.entered FOLDER PATH ...`` prints ``{path: [name, ...]}``, each function once, in the order in
which they were entered, as ``routing.frontdoor.FrontDoor.__call__``.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
GRAFT = str(PROJECT / "graft") + os.sep
LAST = {"/mirrored": "mirroring.noise.Noise.take"}  # what ends the way, where that is not the end of the response
SWITCHES = """
["GET /native"]
share = 100
mirror = 0

["GET /mirrored"]
share = 0
mirror = 100
"""


class Recording:
    """The functions that are entered, in any thread, since ``clear``."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}  # in order, each once
        threading.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(GRAFT):
            module = code.co_filename[len(GRAFT) : -len(".py")].replace(os.sep, ".").removesuffix(".__init__")
            self.names.setdefault(f"{module}.{code.co_qualname}")

    def has(self, name: str) -> bool:
        return name in self.names


def main(folder: Path, paths: list[str]) -> dict[str, list[str]]:
    (folder / "switches.toml").write_text(SWITCHES)
    os.environ.update(
        GRAFT_LEGACY="tests.docs.small_site.legacy:app",
        GRAFT_NATIVE="tests.docs.small_site.native",
        GRAFT_DATA=str(folder / "var"),
        GRAFT_SWITCHES=str(folder / "switches.toml"),
        LOG_LEVEL="error",
    )
    recording = Recording()
    import uvicorn

    import gateway
    from graft.connection.chosen import HttpProtocol

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(gateway.app, http=HttpProtocol, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    client = http.client.HTTPConnection(*listener.getsockname(), timeout=20)
    entered = {}
    for path in ("/plain", *paths):  # the first one starts threads and fills caches
        wait_for(lambda: server.started)
        recording.names.clear()
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
        last = LAST.get(path)
        if last is not None:
            wait_for(lambda last=last: recording.has(last))
        entered[path] = list(recording.names)
    client.close()
    server.should_exit = True
    thread.join()
    return entered


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
