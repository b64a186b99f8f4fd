"""Flask-RESTX: its own pages, resources, and every way to be refused."""

from tests.parity.visitor import Visitor


def documentation(visitor: Visitor) -> None:
    for path in ("/docs/", "/docs", "/swagger.json", "/api/swagger.json", "/api/", "/swaggerui/swagger-ui.css"):
        visitor.get(path)


def resources(visitor: Visitor) -> None:
    visitor.get("/api/tasks/")
    visitor.follow(visitor.post("/api/tasks/", json={"text": "küche"}))
    visitor.get("/api/tasks/?page=2", headers={"x-fields": "[{text}]"})
    visitor.get("/api/tasks/1", headers={"x-fields": "{id"})
    visitor.ask("PUT", "/api/tasks/file", files={"file": ("ä.txt", b"x" * 300_000, "text/plain")})
    visitor.ask("DELETE", "/api/tasks/2")
    visitor.ask("DELETE", "/api/tasks/2")


def refusals(visitor: Visitor) -> None:
    visitor.get("/api/tasks/?page=9")
    visitor.get("/api/tasks/?page=x")
    visitor.get("/api/tasks/77")
    visitor.get("/api/tasks/broken")
    visitor.get("/api/none")
    visitor.post("/api/tasks/", json={"text": "x"})
    visitor.post("/api/tasks/", json={})
    visitor.post("/api/tasks/", content=b"{broken", headers={"content-type": "application/json"})
    visitor.post("/api/tasks/", content=b"text=x")
    visitor.ask("PUT", "/api/tasks/file")
    for method in ("PATCH", "OPTIONS", "HEAD", "DELETE"):
        visitor.ask(method, "/api/tasks/")
    visitor.get("/api/tasks/1", headers={"accept": "application/xml"})
