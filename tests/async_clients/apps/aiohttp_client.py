"""The same with aiohttp, whose session wants to be made inside a loop: on the first request."""

import os

import aiohttp
from flask import Flask, request

app = Flask(__name__)
_session = None


def session():
    global _session
    if _session is None:
        _session = aiohttp.ClientSession(os.environ["UPSTREAM_URL"])
    return _session


@app.get("/ask")
async def ask():
    async with session().get("/square", params={"n": request.args["n"]}) as answer:
        return await answer.json()
