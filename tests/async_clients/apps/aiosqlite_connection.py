"""One aiosqlite connection, opened on the first request."""

import asyncio

import aiosqlite
from flask import Flask, request

app = Flask(__name__)
_connection = None
_opening = asyncio.Lock()


async def connection():
    global _connection
    async with _opening:
        if _connection is None:
            _connection = await aiosqlite.connect(":memory:")
    return _connection


@app.get("/ask")
async def ask():
    n = int(request.args["n"])
    async with (await connection()).execute("SELECT ? * ?", (n, n)) as cursor:
        (answer,) = await cursor.fetchone()
    return {"n": n, "answer": answer}
