"""What the parts of the gateway weigh: ``python -m benchmarks.weights`` imports them one after the other.

It prints a JSON object, name -> MiB of resident memory that this part added. A part that another one has already
imported weighs nothing any more, so the order is that of the list: what a gthread worker has as well comes first.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
from importlib.util import find_spec

import psutil

from benchmarks.contenders import ROOT

SHARED = "Python, Gunicorn and the Flask app"
PARTS = {
    SHARED: ["gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "benchmarks.apps.legacy"],
    "starlette and uvicorn": [
        "uvicorn.workers", "uvloop", "httptools", "uvicorn.protocols.http.httptools_impl",
        "starlette.applications", "starlette.responses", "a2wsgi",
    ],
    "aiohttp and urllib3": ["aiohttp", "urllib3"],
    # Elasticsearch's transport imports them where they are installed, as the tests' requirements do; it needs neither.
    "requests and httpx": ["requests", "httpx"],
    "elasticsearch": ["elasticsearch"],
    "pydantic and its settings": ["pydantic", "pydantic_settings", "graft.settings"],
    "prometheus_client": ["prometheus_client", "prometheus_client.multiprocess"],
    "graft itself": ["graft.cli.servers", "gateway"],
}  # fmt: skip


def main() -> None:
    process = psutil.Process()
    before, weights = 0, {}
    for part, modules in PARTS.items():
        for module in modules:
            if find_spec(module.partition(".")[0]) is not None:
                importlib.import_module(module)
        now = process.memory_info().rss
        weights[part] = (now - before) / 2**20
        before = now
    print(json.dumps(weights))


def measure(rounds: int, environment: dict[str, str]) -> dict[str, float]:
    """The medians over some fresh processes."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.weights"]
    told = [json.loads(_output(command, environment)) for _ in range(rounds)]
    return {part: statistics.median(weights[part] for weights in told) for part in PARTS}


def _output(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
