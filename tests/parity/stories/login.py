"""Flask-Login, Flask-Principal, Flask-WTF: logging in and out, remembered, refused."""

from tests.parity.visitor import Visitor

PAGES = ("/", "/me", "/edit", "/admin", "/fresh")


def nobody(visitor: Visitor) -> None:
    for page in PAGES:
        visitor.get(page)
    visitor.post("/login", data={"name": "anna"})
    visitor.post("/login", data={"name": "anna", "csrf_token": "wrong"})
    visitor.follow(visitor.get("/me?x=1&y=%20"))


def anna(visitor: Visitor) -> None:
    visitor.submit("/login", {"name": "nobody"})
    visitor.follow(visitor.submit("/login?next=/edit", {"name": "anna"}))
    for page in PAGES:
        visitor.get(page)
    visitor.get("/me", headers={"user-agent": "another browser"})
    visitor.get("/me")


def bert_is_remembered(visitor: Visitor) -> None:
    visitor.submit("/login", {"name": "bert", "remember": "on"})
    for page in PAGES:
        visitor.get(page)
    visitor.forget("session")
    for page in PAGES:
        visitor.get(page)
    visitor.submit("/logout", {}, page="/login")
    visitor.get("/me")


def a_key_in_place_of_a_session(visitor: Visitor) -> None:
    for page in PAGES:
        visitor.get(page, headers={"x-api-key": "bert's"})


def many_at_once(visitor: Visitor) -> None:
    visitor.submit("/login", {"name": "anna"})
    visitor.crowd([("GET", PAGES[n % 5], {"headers": {"x-api-key": "bert's"} if n % 3 else {}}) for n in range(60)])
