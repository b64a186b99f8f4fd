"""The native twins of library_legacy.py: plain Starlette routes that go into the Flask app for what is its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import flask
from flask_login import current_user, logout_user
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.contract import library_legacy as library

Endpoint = Callable[[Request], Awaitable[Response]]


def signed_in(endpoint: Endpoint) -> Endpoint:
    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        refused = await request.state.legacy.run(request, _unauthorized)
        if refused is not None:
            return Response(refused.get_data(), refused.status_code, dict(refused.headers))
        return await endpoint(request)

    return guarded


def _unauthorized() -> flask.Response | None:
    if current_user.is_authenticated:
        return None
    return flask.make_response(library.login.unauthorized())


async def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    response: Response = await request.state.legacy.render(request, template, **context)
    response.status_code = status
    return response


def moved(target: str, status: int = 302) -> Response:
    return RedirectResponse(target, status)


async def index(request: Request) -> Response:
    query = library.db.session.query
    books = await request.state.legacy.run(request, lambda: query(library.Book).order_by(library.Book.id).all())
    return await page(request, "index.html", books=books)


async def show(request: Request) -> Response:
    number = request.path_params["number"]
    book = await request.state.legacy.run(request, library.book_of, number)
    marked = await request.state.legacy.run(request, library.mark_of, number)
    return await page(request, "book.html", book=book, marked=marked)


async def sign_in(request: Request) -> Response:
    if request.method == "POST":
        target = await request.state.legacy.run(request, library.sign_in_with, await request.form())
        return moved(target) if target is not None else await page(request, "sign_in.html", 401)
    return await page(request, "sign_in.html")


@signed_in
async def sign_out(request: Request) -> Response:
    await request.state.legacy.run(request, logout_user)
    await request.state.legacy.run(request, flask.flash, "Bye.")
    return moved(request.state.legacy.url_for(request, "books.index"))


async def register(request: Request) -> Response:
    def submitted() -> tuple[library.Registration, bool]:
        form = library.Registration()
        return form, form.validate_on_submit() and library.register_with(form)

    form, done = await request.state.legacy.run(request, submitted)
    if done:
        return moved(request.state.legacy.url_for(request, "accounts.sign_in"), 303)
    return await page(request, "form.html", form=form)


async def change_theme(request: Request) -> Response:
    request.session["theme"] = request.path_params["name"]
    request.session.setdefault("history", []).append(request.path_params["name"])
    request.session.modified = True  # type: ignore[attr-defined]
    return Response(status_code=204, headers={"content-type": "text/html; charset=utf-8"})


@signed_in
async def show_bookmarks(request: Request) -> Response:
    marks = await request.state.legacy.run(request, lambda: current_user.bookmarks)
    return await page(request, "bookmarks.html", marks=marks)


@signed_in
async def add(request: Request) -> Response:
    note = str((await request.form()).get("note", ""))
    return moved(await request.state.legacy.run(request, library.add_bookmark, request.path_params["number"], note))


@signed_in
async def remove(request: Request) -> Response:
    return moved(await request.state.legacy.run(request, library.remove_bookmark, request.path_params["number"]))


async def users(request: Request) -> Response:
    count = await request.state.legacy.run(request, lambda: library.db.session.query(library.User).count())
    return await page(request, "error.html", code="Users", text=count)


async def api_book(request: Request) -> Response:
    def look() -> dict[str, Any]:
        number = request.path_params["number"]
        book = library.db.session.get(library.Book, number)
        if book is None:
            raise HTTPException(404)
        return {"title": book.title, "marked": library.mark_of(number) is not None, "ä": "ü"}

    response: Response = request.state.legacy.json(await request.state.legacy.run(request, look))
    return response


async def api_theme(request: Request) -> Response:
    request.session["theme"] = (await request.json())["theme"]
    response: Response = request.state.legacy.json({"theme": request.session["theme"]})
    return response


async def api_session(request: Request) -> Response:
    shown = {key: value for key, value in request.session.items() if key not in ("csrf_token", "_id")}
    response: Response = request.state.legacy.json(shown)
    return response


async def about(request: Request) -> Response:
    def text() -> str:
        return f"{flask.g.lang} {flask.current_app.name[-7:]}"

    return await page(request, "error.html", code="About", text=await request.state.legacy.run(request, text))


async def crash(request: Request) -> Response:
    request.session["crashed"] = True
    raise LookupError("a secret detail")


async def api_crash(request: Request) -> Response:
    raise LookupError("a secret detail")


routes = [
    Route("/", index),
    Route("/books/{number:int}", show),
    Route("/sign-in", sign_in, methods=["GET", "POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/register", register, methods=["GET", "POST"]),
    Route("/theme/{name}", change_theme, methods=["POST"]),
    Route("/bookmarks/", show_bookmarks),
    Route("/bookmarks/{number:int}", add, methods=["POST"]),
    Route("/bookmarks/{number:int}/remove", remove, methods=["POST"]),
    Route("/admin/users", users),
    Route("/api/books/{number:int}", api_book),
    Route("/api/theme", api_theme, methods=["POST"]),
    Route("/api/session", api_session),
    Route("/api/crash", api_crash),
    Route("/{lang}/about", about),
    Route("/{lang}/crash", crash),
]
