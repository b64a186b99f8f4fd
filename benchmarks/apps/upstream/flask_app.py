"""The same in Flask: requests, with one session whose connections are kept, one for each thread."""

from __future__ import annotations

import os

import requests
from flask import Flask, Response, jsonify
from requests.adapters import HTTPAdapter

app = Flask(__name__)
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_maxsize=16))


@app.get("/upstream")
def upstream() -> Response:
    return jsonify(session.get(os.environ["UPSTREAM"]).json())
