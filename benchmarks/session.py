"""What Flask's session costs a native route that doesn't touch it: the same route with and without, under Uvicorn.

    python -m benchmarks.session [ROUNDS]

Both routes are served by one process, the rounds alternate between them, and the figure is the median over rounds of
the difference in the server's CPU time a request, which other load on the machine moves little. Needs wrk.
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time

import psutil
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graft.legacy import sessions
from graft.legacy.pool import Pool
from graft.observe import logs
from graft.routing.frontdoor import FrontDoor
from graft.routing.index import directly
from graft.settings import Settings

SECONDS = 2
CONNECTIONS = 32


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


def make_app() -> Starlette:
    logs.configure(Settings.load())  # with its access log, as the gateway is served
    flask_app = Flask(__name__)
    flask_app.secret_key = "benchmark"
    bare, wrapped = Route("/bare", hello), Route("/wrapped", hello)
    bare.app = directly(bare)
    wrapped.app = sessions.wrap(directly(wrapped), flask_app, Pool())
    return Starlette(routes=[bare, wrapped], middleware=[Middleware(FrontDoor)])


def cost(server: psutil.Process, url: str) -> float:
    """Microseconds of the server's CPU a request."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "Cookie: session=eyJ1c2VyIjoxfQ.x.y", url]
    before = server.cpu_times()
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = server.cpu_times()
    requests = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
    return (after.user + after.system - before.user - before.system) / requests * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.session:make_app", "--port", str(port)]
    server = subprocess.Popen([*command, "--log-level", "warning"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        process = psutil.Process(server.pid)
        cost(process, f"http://127.0.0.1:{port}/wrapped")
        bare, wrapped = [], []
        for number in range(rounds):
            for name in ("bare", "wrapped") if number % 2 else ("wrapped", "bare"):
                (bare if name == "bare" else wrapped).append(cost(process, f"http://127.0.0.1:{port}/{name}"))
    finally:
        server.terminate()
        server.wait()
    change = [with_it / without - 1 for with_it, without in zip(wrapped, bare, strict=True)]
    print(f"without a session {statistics.median(bare):.1f} us of CPU a request, least {min(bare):.1f}")
    print(f"with one untouched {statistics.median(wrapped):.1f} us, least {min(wrapped):.1f}")
    print(f"an untouched session costs {statistics.median(change):.2%} (median of {rounds} rounds)")


if __name__ == "__main__":
    main()
