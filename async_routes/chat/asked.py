"""What a client asks, read with care."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

LONGEST_QUESTION = 2000  # characters
LONGEST_USER_ID = 128
LARGEST_BODY = 64 * 1024  # bytes


class BadQuestion(ValueError):
    """The message is for the person who wrote the client. ``code`` is for programs."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Asked:
    user_id: str
    question: str

    @classmethod
    async def read(cls, request: Request) -> Asked:
        """From ``{"user_id", "question"}``. Raises BadQuestion."""
        body = await _body(request)
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            raise BadQuestion("invalid_json", "The body is not valid JSON.") from None
        if not isinstance(told, dict):
            raise BadQuestion("invalid_body", 'The body must be an object: {"user_id": "...", "question": "..."}.')
        user_id = user_id_of(_text(told, "user_id"))
        question = _text(told, "question")
        if len(question) > LONGEST_QUESTION:
            raise BadQuestion("question_too_long", f"question must have at most {LONGEST_QUESTION} characters.")
        return cls(user_id, question)


def user_id_of(text: str) -> str:
    if len(text) > LONGEST_USER_ID or not text.isprintable():
        raise BadQuestion("invalid_user_id", f"user_id must have 1 to {LONGEST_USER_ID} printable characters.")
    return text


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise BadQuestion("too_large", f"The body must have at most {LARGEST_BODY} bytes.", 413)
    return bytes(body)


def _text(told: dict[str, Any], name: str) -> str:
    if name not in told:
        raise BadQuestion("missing_field", f"{name} is missing.")
    value = told[name]
    if not isinstance(value, str):
        raise BadQuestion("wrong_type", f"{name} must be a string.")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        raise BadQuestion("wrong_type", f"{name} must be text.") from None
    if not value.strip():
        raise BadQuestion("empty_field", f"{name} is empty.")
    return value.strip()
