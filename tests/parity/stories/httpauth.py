"""Flask-HTTPAuth: who is let in, and what the others are told."""

import httpx2 as httpx

from tests.parity.visitor import Visitor

PAGES = ("/basic", "/admin", "/digest", "/key", "/either", "/maybe")


def passwords(visitor: Visitor) -> None:
    for page in PAGES:
        for who in (None, ("anna", "s3cret"), ("anna", "wrong"), ("ünï", "pä:ss"), ("nobody", "")):
            visitor.get(page, auth=who)


def headers(visitor: Visitor) -> None:
    for page in PAGES:
        for value in (
            "Bearer t0ken",
            "Bearer wrong",
            "bearer t0ken",
            "Basic !!!",
            "Basic",
            "",
            "Unknown x",
            "Digest x=y",
        ):
            visitor.get(page, headers={"authorization": value})
        visitor.get(page, headers={"x-api-key": "t0ken"})
        visitor.get(page, headers={"x-api-key": "wrong"})


def a_digest_is_asked_for_and_given(visitor: Visitor) -> None:
    for password in ("s3cret", "wrong"):
        visitor.get("/digest?a=1&b=%20", auth=httpx.DigestAuth("anna", password))
        visitor.post("/digest", content=b"x" * 1000, auth=httpx.DigestAuth("anna", password))
