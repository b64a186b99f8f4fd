"""Flask-SQLAlchemy with one connection: nothing is stored that was declined, and nobody keeps the connection."""

from tests.parity.visitor import Visitor


def orders(visitor: Visitor) -> None:
    visitor.get("/")
    for number in ("a", "b", "a"):
        visitor.post(f"/orders/{number}")
    visitor.post("/orders/declined?declined=1")
    visitor.post("/broken/half")
    for path in ("/orders", "/orders/a", "/orders/declined", "/orders/half", "/orders?page=9", "/slow/a", "/streamed"):
        visitor.get(path)


def a_crowd_shares_one_connection(visitor: Visitor) -> None:
    visitor.crowd([("POST", f"/orders/n{n:03}{'?declined=1' * (n % 3 == 0)}", {}) for n in range(30)])
    visitor.crowd([("POST", f"/broken/n{n}", {}) for n in range(10)])
    visitor.crowd([("GET", ("/slow/a", "/orders", "/streamed", "/orders/n001")[n % 4], {}) for n in range(40)])
    visitor.get("/orders")
