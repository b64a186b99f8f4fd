"""Flaskr's first page natively, through its own connection and template; and a greeting that always fails."""

from __future__ import annotations

from typing import Any

from flaskr.db import get_db
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POSTS = """SELECT p.id, title, body, created, author_id, username
 FROM post p JOIN user u ON p.author_id = u.id ORDER BY created DESC"""


async def index(request: Request) -> Response:
    posts = await request.state.legacy.run(request, _posts)
    page: Response = await request.state.legacy.render(request, "blog/index.html", posts=posts)
    return page


def _posts() -> list[Any]:
    return list(get_db().execute(POSTS).fetchall())


async def hello(request: Request) -> Response:
    raise RuntimeError("not finished yet")


routes = [Route("/", index), Route("/hello", hello)]
