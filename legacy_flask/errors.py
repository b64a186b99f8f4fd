"""Error answers: a page of the portal for people, JSON for programs."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Flask, Response, json, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

# Addresses that the server in front of the portal may answer. Where nothing does, people get the nearest page of ours.
NEAREST = {"/search": "pages.browse", "/chat": "pages.browse", "/api/docs": "pages.about"}

WORDS = {
    400: ("That did not work", "The request could not be understood."),
    403: ("Not for you", "You may not see this."),
    404: ("Nothing here", "There is no page at this address."),
    405: ("Not this way", "This address does not take that kind of request."),
    413: ("Too large", "What you sent is larger than what the portal takes."),
    500: ("Our mistake", "Something went wrong on our side. It has been noted, and trying again may help."),
    503: ("Back in a moment", "A part that this page needs does not answer."),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, answer)


def answer(error: HTTPException) -> Response:
    assert error.code is not None  # Flask itself returns an exception that has a response of its own
    if error.code == 404 and request.path in NEAREST:
        query = urlencode(list(request.args.items(multi=True)))
        return redirect(url_for(NEAREST[request.path]) + (f"?{query}" if query else ""))  # type: ignore[return-value]
    response: Response = error.get_response()  # type: ignore[assignment]  # keeps Allow, Retry-After and the like
    if _wants_json():
        response.data = json.dumps({"error": {"code": _code(error.code), "message": _message(error)}})
        response.content_type = "application/json"
    else:
        heading, _ = WORDS.get(error.code, (_phrase(error.code), ""))
        response.data = render_template("error.html", status=error.code, heading=heading, message=_message(error))
        response.content_type = "text/html; charset=utf-8"
    return response


def _wants_json() -> bool:
    if request.path.startswith("/api/"):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def _message(error: HTTPException) -> str:
    """What the view said, or our words in place of Werkzeug's."""
    if error.code == 500 or error.description == type(error).description:
        return WORDS.get(error.code or 0, ("", error.description or ""))[1]
    return error.description or ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _code(status: int) -> str:
    """``404`` -> ``not_found``"""
    return _phrase(status).lower().replace(" ", "_").replace("-", "_")
