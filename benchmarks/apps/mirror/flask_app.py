"""The legacy side: it answers users at once, and as a mirror it dawdles."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask

app = Flask(__name__)


@app.get("/alone")
@app.get("/slow")
@app.get("/failing")
@app.get("/hanging")
def prompt() -> str:
    return "hello"


@app.get("/native-alone")
def equal() -> str:
    return "hello"


@app.get("/native-slow")
def slow() -> str:
    time.sleep(0.2)
    return "hello"


@app.get("/untwinned")
@app.get("/dark")
@app.get("/calm")
def article() -> dict[str, Any]:
    """``/dark`` and ``/calm`` have a native twin, nobody has set anything for them; ``/untwinned`` has none."""
    return {"id": 17, "title": "A river runs through it", "tags": ["water", "wood"], "score": 1.25}
