"""A request that the bridge itself answers: too large, too many, too late, not HTTP."""

from __future__ import annotations

from graft.error_answers import ErrorAnswer


class Refused(Exception):
    """Ends the work on a request whose client gets ``answer``; never seen outside of the bridge."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = ErrorAnswer(status, code, message, headers)


def too_large(limit: int | None) -> Refused:
    return Refused(413, "body_too_large", f"The body is larger than {limit} bytes.")
