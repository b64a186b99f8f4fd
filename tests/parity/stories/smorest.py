"""Flask-Smorest: pages of pets, entity tags, refusals, and its description."""

from tests.parity.visitor import Visitor


def pages(visitor: Visitor) -> None:
    visitor.get("/docs/api.json")
    for query in ("", "?page=2&page_size=7", "?name=1", "?page=0", "?page_size=1000", "?page=99", "?name=1&name=2"):
        visitor.get(f"/pets/{query}")


def entity_tags(visitor: Visitor) -> None:
    tag = visitor.get("/pets/3").headers["etag"]
    visitor.get("/pets/3", headers={"if-none-match": tag})
    visitor.ask("PUT", "/pets/3", json={"name": "new"})
    visitor.ask("PUT", "/pets/3", json={"name": "new"}, headers={"if-match": '"other"'})
    visitor.ask("PUT", "/pets/3", json={"name": "new", "born": "2020-02-29"}, headers={"if-match": tag})
    visitor.get("/pets/3", headers={"if-none-match": tag})
    visitor.ask("DELETE", "/pets/30")


def refusals(visitor: Visitor) -> None:
    visitor.post("/pets/", json={"name": "x", "unknown": 1})
    visitor.post("/pets/", content=b"{", headers={"content-type": "application/json"})
    visitor.post("/pets/", json={"name": "nön", "born": "2020-02-30"})
    visitor.post("/pets/", json={"name": "nön"})
    for method, path in (
        ("GET", "/pets/99"),
        ("GET", "/pets"),
        ("PATCH", "/pets/1"),
        ("OPTIONS", "/pets/"),
        ("GET", "/x"),
    ):
        visitor.ask(method, path)
