"""One psycopg connection that is kept open, with a lock around it."""

import asyncio
import os

import psycopg
from flask import Flask, request

app = Flask(__name__)
_connection = None
_lock = asyncio.Lock()


@app.get("/ask")
async def ask():
    global _connection
    n = int(request.args["n"])
    async with _lock:
        if _connection is None:
            _connection = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)
        cursor = await _connection.execute("SELECT %s::bigint * %s::bigint", (n, n))
        (answer,) = await cursor.fetchone()
    return {"n": n, "answer": answer}
