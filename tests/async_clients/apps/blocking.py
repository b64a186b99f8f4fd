"""An async view that forgets to await: everybody waits for it."""

import time

from flask import Flask

app = Flask(__name__)


@app.get("/slow")
async def slow():
    time.sleep(0.15)  # noqa: ASYNC251
    return {"slow": True}


@app.get("/quick")
async def quick():
    return {"slow": False}
