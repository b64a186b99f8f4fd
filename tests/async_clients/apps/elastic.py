"""A search API, from the client's own documentation: one client for the process."""

import os

from elasticsearch import AsyncElasticsearch
from flask import Flask, request

app = Flask(__name__)
client = AsyncElasticsearch(os.environ["SEARCH_URL"])


@app.get("/ask")
async def search():
    n = request.args["n"]
    found = await client.search(index="numbers", query={"term": {"n": int(n)}})
    return {"n": int(n), "answer": found["hits"]["hits"][0]["_source"]["square"]}
