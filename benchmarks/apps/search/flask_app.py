"""The same in Flask, with the sync client: one for the process, a connection for each thread."""

from __future__ import annotations

import os

from elasticsearch import Elasticsearch
from flask import Flask, Response, jsonify, request

from benchmarks.apps.search.passages import answer, question

app = Flask(__name__)
client = Elasticsearch(os.environ["ELASTICSEARCH_URL"], connections_per_node=16)


@app.get("/search")
def search() -> Response:
    return jsonify(answer(client.search(**question(request.args["q"]))))
