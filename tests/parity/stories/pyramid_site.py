"""Pyramid: pages, a login, an upload, files and errors."""

from tests.parity.visitor import Visitor

PATHS = (
    "/",
    "/items/7?a=1&a=2",
    "/items/0",
    "/items/%C3%BC%2Fx",
    "/items",
    "/secret",
    "/stream",
    "/source",
    "/broken",
    "/none",
)


def pages(visitor: Visitor) -> None:
    for path in PATHS:
        visitor.get(path)
        visitor.get(path, headers={"accept": "application/json"})
    for path in ("/", "/items/7", "/items/0", "/stream", "/source"):
        visitor.ask("HEAD", path)
    visitor.get("/files/babel.py", headers={"range": "bytes=5-20"})
    visitor.get("/files/../visits.py")
    visitor.get("/source", headers={"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"})
    for method in ("OPTIONS", "PUT", "DELETE"):
        visitor.ask(method, "/upload")


def known(visitor: Visitor) -> None:
    visitor.post("/login", data={"name": "anna"})
    visitor.follow(visitor.submit("/login", {"name": "änna"}))
    visitor.get("/secret")
    visitor.follow(visitor.get("/logout"))
    visitor.get("/secret")


def uploads(visitor: Visitor) -> None:
    visitor.post("/upload", files={"file": ("ü.bin", b"x" * 4_000_000)})
    visitor.post("/upload", data={"file": "none"})


def everybody_at_once(visitor: Visitor) -> None:
    visitor.crowd([("GET", PATHS[n % len(PATHS)], {}) for n in range(60)])
