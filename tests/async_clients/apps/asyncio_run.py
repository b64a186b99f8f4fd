"""Sync views with asyncio.run: a loop a request, and everything inside it."""

import asyncio
import os

import aiohttp
from flask import Flask, request

app = Flask(__name__)


async def ask_upstream(session, n):
    async with session.get("/square", params={"n": n}) as answer:
        return await answer.json()


async def square_and_check(n):
    async with aiohttp.ClientSession(os.environ["UPSTREAM_URL"]) as session:
        first, second = await asyncio.gather(ask_upstream(session, n), ask_upstream(session, n))
    assert first == second
    return first


@app.get("/ask")
def ask():
    return asyncio.run(square_and_check(request.args["n"]))
