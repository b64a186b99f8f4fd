"""A Flask app whose native twins fail when they are told to."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.route("/write", methods=["POST"])
def write() -> str:
    return "legacy"


@app.get("/read")
def read() -> dict[str, str]:
    return {"said": "the same"}
