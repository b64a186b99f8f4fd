"""Authlib: there and back, with state, a challenge, and what happens without them."""

from urllib.parse import urlsplit

from tests.parity.visitor import Visitor


def there_and_back(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.follow(visitor.follow(visitor.follow(visitor.get("/login"))))
    visitor.get("/")


def refused_there(visitor: Visitor) -> None:
    where = urlsplit(visitor.get("/login").headers["location"])
    visitor.follow(visitor.get(f"{where.path}?{where.query}&deny=1"))


def a_callback_that_nobody_asked_for(visitor: Visitor) -> None:
    visitor.get("/callback?code=c0de&state=made-up")
    visitor.get("/login")
    visitor.get("/callback?code=c0de&state=made-up")
