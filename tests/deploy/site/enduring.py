"""The site's Flask app with views that crash and views that await."""

from __future__ import annotations

import asyncio

from tests.deploy.site.legacy import app


@app.get("/crash")
def crash() -> str:
    raise ValueError("on purpose")


@app.get("/async")
async def awaits() -> str:
    await asyncio.sleep(0.001)
    return "awaited"
