"""prometheus-flask-exporter: what is counted, and how often."""

import re

from tests.parity.visitor import Visitor


def counts(visitor: Visitor) -> None:
    for path in ("/page/a", "/page/b", "/page/none", "/broken", "/async", "/nowhere", "/"):
        visitor.get(path)
    visitor.post("/job", content=b"x" * 100_000)
    visitor.crowd([("GET", "/page/crowd", {}) for _ in range(30)])
    visitor.told("counted", [line for line in visitor.page("/metrics").text.splitlines() if _counted(line)])
    visitor.ask("POST", "/metrics")


def _counted(line: str) -> bool:
    """A count or a description of the app's: no times, and nothing of the process."""
    return not re.search(r"_(sum|created|bucket)\b|process_|python_|graft_", line)
