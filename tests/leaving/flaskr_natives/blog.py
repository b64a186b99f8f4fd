"""The posts."""

from __future__ import annotations

from typing import Any

from flask import flash, g
from flaskr.blog import get_post
from flaskr.db import get_db
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from async_routes.auth import to
from graft import is_mirrored

POSTS = """SELECT p.id, title, body, created, author_id, username
 FROM post p JOIN user u ON p.author_id = u.id ORDER BY created DESC, p.id DESC"""


async def hello(request: Request) -> Response:
    return PlainTextResponse("Hello, World!", media_type="text/html")


async def index(request: Request) -> Response:
    posts = await request.state.legacy.run(request, lambda: get_db().execute(POSTS).fetchall())
    page: Response = await request.state.legacy.render(request, "blog/index.html", posts=posts)
    return page


async def is_nobody(request: Request) -> bool:
    return bool(await request.state.legacy.run(request, lambda: g.user is None))


async def create(request: Request) -> Response:
    legacy = request.state.legacy
    if await is_nobody(request):
        return to(request, "auth.login")
    if request.method == "POST":
        form = await request.form()
        if form["title"]:
            await legacy.run(request, _create, form["title"], form["body"])
            return to(request, "blog.index")
        await legacy.run(request, flash, "Title is required.")
    page: Response = await legacy.render(request, "blog/create.html")
    return page


async def update(request: Request) -> Response:
    legacy, number = request.state.legacy, request.path_params["id"]
    if await is_nobody(request):
        return to(request, "auth.login")
    post = await legacy.run(request, get_post, number)
    if request.method == "POST":
        form = await request.form()
        if form["title"]:
            await legacy.run(
                request, _write, "UPDATE post SET title = ?, body = ? WHERE id = ?", form["title"], form["body"], number
            )
            return to(request, "blog.index")
        await legacy.run(request, flash, "Title is required.")
    page: Response = await legacy.render(request, "blog/update.html", post=post)
    return page


async def delete(request: Request) -> Response:
    legacy, number = request.state.legacy, request.path_params["id"]
    if await is_nobody(request):
        return to(request, "auth.login")
    await legacy.run(request, get_post, number)
    await legacy.run(request, _write, "DELETE FROM post WHERE id = ?", number)
    return to(request, "blog.index")


def _create(title: str, body: str) -> None:
    assert not is_mirrored()
    _write("INSERT INTO post (title, body, author_id) VALUES (?, ?, ?)", title, body, g.user["id"])


def _write(statement: str, *values: Any) -> None:
    get_db().execute(statement, values)
    get_db().commit()


routes = [
    Route("/", index),
    Route("/hello", hello),
    Route("/create", create, methods=["GET", "POST"]),
    Route("/{id:int}/update", update, methods=["GET", "POST"]),
    Route("/{id:int}/delete", delete, methods=["POST"]),
]
