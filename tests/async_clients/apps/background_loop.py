"""A team's own way around Flask: a thread with a loop that never ends, and sync views that ask it."""

import asyncio
import os
import threading

import httpx
from flask import Flask, request

app = Flask(__name__)
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
client = httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"])


@app.get("/ask")
def ask():
    answer = asyncio.run_coroutine_threadsafe(client.get("/square", params=request.args), loop).result(timeout=30)
    return answer.json()
