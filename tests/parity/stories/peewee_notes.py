"""peewee: a connection for each request, in whichever thread; transactions that end."""

from tests.parity.visitor import Visitor


def notes(visitor: Visitor) -> None:
    visitor.get("/")
    for title in ("a", "ünï", "a"):
        visitor.post("/notes", json={"title": title})
    visitor.post("/notes", json={})
    visitor.post("/broken")
    for path in ("/notes/a", "/notes/ünï", "/notes/broken", "/"):
        visitor.get(path)


def many_notes(visitor: Visitor) -> None:
    visitor.get("/notes/a")
    visitor.crowd([("GET", "/notes/a" if n % 2 else "/", {}) for n in range(60)])
    visitor.crowd([("POST", "/broken", {}) for _ in range(10)])
    visitor.get("/")
