"""An assistant that reads the model's answer as it streams in."""

import os

from flask import Flask, request
from openai import AsyncOpenAI

app = Flask(__name__)
client = AsyncOpenAI(base_url=os.environ["CHAT_URL"], api_key="sk-local")


@app.get("/ask")
async def ask():
    n = request.args["n"]
    messages = [{"role": "user", "content": f"square {n}"}]
    answer = ""
    async for chunk in await client.chat.completions.create(model="scripted", messages=messages, stream=True):
        answer += chunk.choices[0].delta.content or ""
    return {"n": int(n), "answer": int(answer)}
