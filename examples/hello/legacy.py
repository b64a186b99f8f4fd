"""The Flask app below: it starts the same task from a sync and from an async view."""

from __future__ import annotations

from flask import Flask

from async_routes.hello import work
from graft import tasks

app = Flask(__name__)


@app.post("/old/hello")
def hello() -> tuple[dict[str, str], int]:
    return {"task": tasks.start(work, fails=False)}, 202


@app.post("/old/hello-async")
async def hello_async() -> tuple[dict[str, str], int]:
    return {"task": tasks.start(work, fails=False)}, 202
