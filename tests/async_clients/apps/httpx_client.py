"""Calls another service through one pooled client."""

import os

import httpx
from flask import Flask, request

app = Flask(__name__)
client = httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"])


@app.get("/ask")
async def ask():
    answer = await client.get("/square", params={"n": request.args["n"]})
    return answer.json()
