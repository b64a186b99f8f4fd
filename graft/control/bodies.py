"""Request bodies of the control plane: small JSON objects and nothing else."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST = 16 * 1024


async def json_object(request: Request) -> dict[str, Any]:
    """The object that the body is. Raises HTTPException 400, 413 or 415, with what to send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "Send the body as application/json.")
    try:
        value = json.loads(await _body(request))
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "The body has to be a JSON object.")
    return value


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"The body is larger than {LARGEST} bytes.")
    return body
