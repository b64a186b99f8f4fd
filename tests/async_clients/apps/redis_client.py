"""A counter and a cache in Redis."""

import os

from flask import Flask, request
from redis.asyncio import Redis

app = Flask(__name__)
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


@app.get("/ask")
async def ask():
    n = request.args["n"]
    async with redis.pipeline() as pipe:
        _, answer, _ = await pipe.set(f"n:{n}", int(n) ** 2).get(f"n:{n}").incr("asked").execute()
    return {"n": int(n), "answer": int(answer)}
