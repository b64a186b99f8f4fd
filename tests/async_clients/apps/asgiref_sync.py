"""Sync views that call async code through asgiref, and async code that calls sync code."""

import os

import aiohttp
from asgiref.sync import async_to_sync, sync_to_async
from flask import Flask, request

app = Flask(__name__)


def parameters(n):
    return {"n": n}


async def square(n):
    asked = await sync_to_async(parameters)(n)
    async with (
        aiohttp.ClientSession(os.environ["UPSTREAM_URL"]) as session,
        session.get("/square", params=asked) as got,
    ):
        return await got.json()


@app.get("/ask")
def ask():
    return async_to_sync(square)(request.args["n"])
