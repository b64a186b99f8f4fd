"""The legacy side: it answers users at once, and as a mirror it dawdles."""

from __future__ import annotations

import time

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
