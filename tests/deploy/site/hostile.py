"""The site's Flask app with the other half of /echoed."""

from __future__ import annotations

from typing import Any

from flask import request

from tests.deploy.site.legacy import app


@app.get("/echoed")
def echoed() -> dict[str, Any]:
    return {"side": "legacy", "said": request.args.to_dict(), "agent": request.headers.get("User-Agent")}
