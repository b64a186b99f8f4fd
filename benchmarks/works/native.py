"""What the gateway adds to a native route: the same routes in a bare Starlette app, in the same kind of worker, and in
other servers."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import NATIVE, Contender, graft, granian, gunicorn, uvicorn, uvicorn_worker
from benchmarks.load import Load

ONE, HUNDRED, LAST = "benchmarks.apps.bare:one", "benchmarks.apps.bare:many", "/section99/7/view"


def _bare(command: tuple[str, ...], probe: str) -> Contender:
    return Contender("bare Starlette", command, probe)


# Under Gunicorn the workers share what they count; alone under Uvicorn there is one. Each peer writes its access log:
# that costs Uvicorn by itself more than it costs Gunicorn's worker.
COMPARISONS = [
    Comparison(
        "native",
        "native route",
        Load("/native"),
        {
            _bare(uvicorn_worker(ONE), "/native"): 1.35,
            Contender("gunicorn asgi", gunicorn("asgi", ONE), "/native"): 1.2,
            granian("asgi", ONE, "/native"): 1.2,
        },
        graft(probe="/native"),
    ),
    Comparison(
        "native alone",
        "native route, metrics of one process",
        Load("/native"),
        {_bare(uvicorn(ONE), "/native"): 1.4},
        graft(NATIVE, "/native", uvicorn("gateway:app", "--http", "graft.connection.chosen:HttpProtocol")),
    ),
    Comparison(
        "native of 100",
        "native route, the last of 100",
        Load(LAST),
        {_bare(uvicorn_worker(HUNDRED), LAST): 3.2},
        graft("benchmarks.apps.hundred", LAST),
    ),
]
WORK = Comparisons("native", COMPARISONS)
