"""A Flask app with one plain view, one async view and one view that a native route twins."""

from __future__ import annotations

import asyncio

from flask import Flask, Response, jsonify

app = Flask(__name__)
app.secret_key = "of a test"


@app.before_request
def check() -> None:
    """A hook, so that native routes have hooks to run."""


@app.get("/plain")
def plain() -> str:
    return "plain"


@app.get("/async")
async def with_await() -> str:
    await asyncio.sleep(0)
    return "async"


@app.get("/native")
@app.get("/mirrored")
def both() -> Response:
    return jsonify(answer=42)
