"""The Flask app that every contender serves: one view per kind of work."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, jsonify, render_template, request, send_file

app = Flask(__name__)

MEGABYTE = b"x" * 1_000_000
CHUNK = b"x" * 10_000
ROWS = [{"name": f"row {number}", "value": number * 7} for number in range(60)]


@app.get("/small")
def small() -> str:
    return "hello"


@app.get("/page")
def page() -> str:
    return render_template("page.html", title="A page", rows=ROWS)


@app.post("/echo")
def echo() -> Response:
    return jsonify(request.get_json())


@app.get("/download")
def download() -> Response:
    return Response(MEGABYTE)


@app.get("/file/<int:megabytes>")
def file(megabytes: int) -> Response:
    path = Path(tempfile.gettempdir()) / f"graft-benchmark-{megabytes}.bin"
    if not path.exists():
        with path.open("wb") as made:
            made.truncate(megabytes * 1_000_000)
    return send_file(path)


@app.get("/stream")
def stream() -> Response:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield CHUNK

    return Response(chunks())


@app.post("/upload")
def upload() -> str:
    size = 0
    while data := request.stream.read(65536):
        size += len(data)
    return str(size)


@app.get("/block")
def block() -> str:
    time.sleep(0.01)
    return "blocked"


@app.get("/sleep")
def sleep() -> str:
    time.sleep(0.2)
    return "slept"


@app.get("/burn")
def burn() -> str:
    """200 ms of Python, by the thread's own clock, so that waiting for the GIL does not count."""
    end = time.thread_time() + 0.2
    count = 0
    while time.thread_time() < end:
        count += sum(range(200))
    return str(count)


@app.get("/async")
async def async_view() -> str:
    return "hello"


@app.get("/await")
async def awaiting() -> str:
    await asyncio.sleep(0.01)
    return "hello"
