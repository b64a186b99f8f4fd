"""Flaskr: registering, logging in, posts of one's own and of others; the first page over and over, logged in."""

from tests.parity.visitor import Visitor

ANNA, BERT = ({"username": name, "password": "s3cret"} for name in ("änna", "bert"))


def nobody(visitor: Visitor) -> None:
    for path in ("/", "/hello", "/auth/login", "/auth/register", "/create", "/1/update", "/static/style.css", "/none"):
        visitor.get(path)
        visitor.ask("HEAD", path)
    visitor.post("/1/delete")
    visitor.ask("OPTIONS", "/")
    visitor.post("/")


def anna(visitor: Visitor) -> None:
    visitor.post("/auth/register", data=ANNA)
    visitor.post("/auth/register", data=ANNA)
    visitor.post("/auth/login", data={**ANNA, "password": "wrong"})
    visitor.follow(visitor.post("/auth/login", data=ANNA))
    visitor.follow(visitor.post("/create", data={"title": "Erster", "body": "<b>näh</b>"}))
    visitor.post("/create", data={"title": "", "body": ""})
    visitor.get("/1/update")
    visitor.follow(visitor.post("/1/update", data={"title": "Zweiter", "body": "x" * 300_000}))
    visitor.get("/hello")
    visitor.crowd([("GET", ("/", "/create", "/1/update")[n % 3], {}) for n in range(60)])
    visitor.follow(visitor.get("/auth/logout"))


def bert(visitor: Visitor) -> None:
    visitor.post("/auth/register", data=BERT)
    visitor.post("/auth/login", data=BERT)
    for path in ("/", "/1/update", "/7/update"):
        visitor.get(path)
    visitor.post("/1/delete")
    visitor.post("/create", data={"title": "mine", "body": ""})
    visitor.follow(visitor.post("/2/delete"))
