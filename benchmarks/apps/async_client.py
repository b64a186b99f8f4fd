"""A Flask app with an async client that it opens when it is imported, as many do, and async views beside it.

They don't ask the client anything: under a server that gives each request a loop of its own, the second would fail.
"""

from __future__ import annotations

import asyncio

import httpx
from flask import Flask

app = Flask(__name__)
client = httpx.AsyncClient()


@app.get("/small")
def small() -> str:
    return "hello"


@app.get("/async")
async def async_view() -> str:
    return "hello"


@app.get("/await")
async def awaiting() -> str:
    await asyncio.sleep(0.01)
    return "hello"
