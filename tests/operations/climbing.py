"""A host with made-up traffic and a clock that tests turn, on which the promoters of its workers climb."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from graft.figures.route_figures import Latency, RouteFigures
from graft.operations.baselines import Baselines
from graft.operations.file_state import FileState
from graft.operations.promoter import FiguresOf, Promoter
from graft.operations.switches import Switches
from graft.types import RouteKey, Side

KEY = RouteKey("GET", "/thing")


def taking(ms: float | None, answers: int = 1000) -> Latency:
    """So many answers that took ``ms`` each; None for no answers."""
    return Latency.of([ms / 1000] * answers) if ms is not None else Latency()


def figures(
    native: int = 0,
    legacy: int = 0,
    fallback: int = 0,
    native_failed: int = 0,
    compared: int = 0,
    matched: int = 0,
    took: tuple[float | None, float | None] = (None, None),
) -> RouteFigures:
    """Figures of one route; ``took`` is how long each native and each legacy answer did, in ms."""
    return RouteFigures(
        {Side.NATIVE: native, Side.LEGACY: legacy, Side.FALLBACK: fallback},
        native_failed,
        {Side.NATIVE: taking(took[0]), Side.LEGACY: taking(took[1]), Side.FALLBACK: Latency()},
        {"matched": matched, "different": compared - matched},
    )


class Host:
    """One data folder and one switches.toml, for all workers of the host."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 1000.0
        self.state = FileState(folder / "switches.toml", folder / "var")
        self.state.baselines = Baselines(folder / "var" / "promotions.json", lambda: self.seconds)
        self.counted = RouteFigures()

    @property
    def switches(self) -> Switches:
        """As a follower: that of each worker here is up to date."""
        return self.state.read()

    def worker(self, server: str = "server", routes: Collection[RouteKey] = ()) -> Promoter:
        return Promoter(self.state, self, self._figures, server, routes=routes)  # type: ignore[arg-type]

    def pass_by(self, seconds: float, **traffic: Any) -> None:
        """So much time, with that traffic in it."""
        self.seconds += seconds
        self.counted += figures(**{"took": (10, 20), **traffic})

    @property
    def share(self) -> float:
        return self.switches.for_route(KEY).share

    @property
    def climbs(self) -> bool:
        return self.switches.for_route(KEY).climb is not None

    def operations(self) -> list[tuple[str, str]]:
        """The history: what was done by whom, the oldest first."""
        return [(event.operation, event.by) for event in reversed(self.state.history(KEY))]

    async def _figures(self) -> FiguresOf:
        return lambda key: self.counted if key == KEY else RouteFigures()
