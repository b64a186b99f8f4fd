"""A pool of connections to PostgreSQL, made on the first request."""

import asyncio
import os

import asyncpg
from flask import Flask, request

app = Flask(__name__)
_pool = None
_opening = asyncio.Lock()


async def pool():
    global _pool
    async with _opening:
        if _pool is None:
            _pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=5)
    return _pool


@app.get("/ask")
async def ask():
    n = int(request.args["n"])
    async with (await pool()).acquire() as connection:
        answer = await connection.fetchval("SELECT $1::bigint * $1::bigint", n)
    return {"n": n, "answer": answer}
