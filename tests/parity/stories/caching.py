"""Flask-Caching: what is kept, for which query, and what is forgotten."""

from tests.parity.visitor import Visitor


def kept_answers(visitor: Visitor) -> None:
    for path in (
        "/report?a=1&b=2",
        "/report?b=2&a=1",
        "/report?a=2",
        "/report?a=1&b=2",
        "/plain",
        "/plain",
        "/plain?keep=yes",
    ):
        visitor.get(path)
    for path in ("/plain?keep=yes", "/stream", "/stream", "/page", "/page"):
        visitor.get(path)
    visitor.ask("HEAD", "/report?a=1&b=2")


def forgotten_answers(visitor: Visitor) -> None:
    visitor.get("/square/7")
    visitor.get("/square/7")
    visitor.post("/forget/7")
    visitor.get("/square/7")
    visitor.crowd([("GET", "/square/7", {})] * 40)
