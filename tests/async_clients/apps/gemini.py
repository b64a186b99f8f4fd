"""The same with Google's client for Gemini."""

import os

from flask import Flask, request
from google import genai

app = Flask(__name__)
client = genai.Client(api_key="local", http_options={"base_url": os.environ["GEMINI_URL"]})


@app.get("/ask")
async def ask():
    n = request.args["n"]
    whole = await client.aio.models.generate_content(model="scripted", contents=f"square {n}")
    streamed = ""
    async for part in await client.aio.models.generate_content_stream(model="scripted", contents=f"square {n}"):
        streamed += part.text
    assert streamed == whole.text
    return {"n": int(n), "answer": int(streamed)}
