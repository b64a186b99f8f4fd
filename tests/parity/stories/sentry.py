"""Sentry's SDK: each request and each error is reported once, with what belongs to it."""

from tests.parity.visitor import Visitor


def reports(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.post("/order/7?x=1", json={"a": "ü"})
    visitor.get("/broken")
    visitor.get("/broken-async?y=2")
    visitor.get("/none")
    visitor.poll("/sent", until=lambda answer: len(answer.json()) >= 8)


def tags_stay_with_their_request(visitor: Visitor) -> None:
    visitor.crowd([("POST", f"/order/{n}", {"json": {"n": n}}) for n in range(20)])
    visitor.poll("/sent", until=lambda answer: len(answer.json()) >= 48)
