"""OpenTelemetry: one span a request, children under it, the caller's trace above it."""

from tests.parity.visitor import Visitor

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": "who=anna,what=%C3%BC"}


def spans(visitor: Visitor) -> None:
    for path in ("/", "/broken", "/async", "/stream", "/none", "/?q=%C3%BC"):
        visitor.get(path)
        visitor.get(path, headers=TRACE)
    visitor.post("/order/7", headers=TRACE)
    visitor.crowd([("POST", f"/order/{n}", {}) for n in range(20)])
    visitor.poll("/spans", until=lambda answer: len(answer.json()) >= 58)
