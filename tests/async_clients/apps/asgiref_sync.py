"""Sync views that call async code through asgiref, and async code that calls sync code."""

import os

import aiohttp
from asgiref.sync import async_to_sync, sync_to_async
from flask import Flask, request

app = Flask(__name__)


def parameters(n):
    return {"n": n}


async def square(n):
    query = await sync_to_async(parameters)(n)
    async with aiohttp.request("GET", os.environ["UPSTREAM_URL"] + "/square", params=query) as answer:
        return await answer.json()


@app.get("/ask")
def ask():
    return async_to_sync(square)(request.args["n"])
