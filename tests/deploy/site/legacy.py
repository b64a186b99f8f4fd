"""The Flask app of the site."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import flask
from flask import Flask, Response

app = Flask(__name__, static_folder="files", static_url_path="/static")


def saw() -> dict[str, Any]:
    """What the request looks like from in here."""
    request = flask.request
    return {
        "url": request.url,
        "client": request.remote_addr,
        "to": flask.url_for("legacy", _external=True),
        "headers": dict(request.headers),
        "pid": os.getpid(),
        "version": os.environ.get("SITE_VERSION", "1"),
    }


@app.get("/both")
def both() -> dict[str, Any]:
    return saw()


@app.get("/legacy")
def legacy() -> dict[str, Any]:
    return saw()


@app.get("/text")
def text() -> str:
    return "word " * 2000


@app.post("/upload")
def upload() -> dict[str, Any]:
    body = flask.request.get_data()
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.post("/count")
def count() -> dict[str, Any]:
    """Writes a line: a request that came twice would show."""
    with open(os.environ["SITE_COUNT"], "a") as file:
        file.write(flask.request.get_data(as_text=True) + "\n")
    return {"pid": os.getpid()}


@app.get("/stream/<int:parts>/<int:pause_ms>")
def stream(parts: int, pause_ms: int) -> Response:
    def produce() -> Iterator[str]:
        for number in range(parts):
            yield f"part {number}\n"
            time.sleep(pause_ms / 1000)

    return Response(produce(), mimetype="text/plain")


@app.get("/legacy-events")
def events() -> Response:
    wait = float(flask.request.args.get("wait", "1"))

    def produce() -> Iterator[str]:
        yield "data: first\n\n"
        time.sleep(wait)
        yield "data: second\n\n"

    return Response(produce(), mimetype="text/event-stream")


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> dict[str, Any]:
    time.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


@app.get("/unavailable")
def unavailable() -> tuple[str, int]:
    return "the app's own 503", 503
