"""The JSON API of the control plane: the overview, operations on routes, their history, the stored differences."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from graft.control.advice import advise
from graft.control.bodies import json_object
from graft.control.overview import figures_of, overview, row_of
from graft.control.promotions import standing_data
from graft.control.rungs import Rungs
from graft.control.tokens import Token
from graft.errors import (
    DifferencesError,
    GraftError,
    NotSwitched,
    OperationRefused,
    RouteHeld,
    SwitchesError,
    UnknownRoute,
)
from graft.figures import folders
from graft.figures.reader import Reader, metrics
from graft.figures.route_figures import RouteFigures
from graft.mirroring.differences import difference_store, read_report
from graft.operations.baselines import Rung
from graft.operations.climb import start_climb, stop_climb
from graft.operations.gates import Verdict
from graft.operations.hold import release
from graft.operations.mirror import mirror
from graft.operations.promotion import Standing, promote
from graft.operations.rollback import rollback, rollback_all
from graft.operations.routes import find_row, switched_row
from graft.operations.sentences import change_text, set_aside
from graft.operations.shift import refuse_if_held, shift
from graft.operations.state import Event, Follower, State, one_line
from graft.operations.switch import Percent
from graft.operations.switches import Switches
from graft.routing.overlapping_routes import Notes, name, notes
from graft.routing.table import RouteTable, Row
from graft.settings import Settings
from graft.types import RouteKey

log = logging.getLogger("graft.control")

T = TypeVar("T")

MOST_EVENTS = 1000

EXAMPLES = 5
"""Of each group of differences, the newest."""


class Api:
    """``table`` is what the gateway routes by, ``state`` what operations change, ``follower`` this worker's copy of it.

    Every method runs on the event loop; what blocks, it hands to a thread.
    """

    def __init__(self, settings: Settings, table: RouteTable, state: State, follower: Follower) -> None:
        self._settings = settings
        self._table = table
        self._state = state
        self._follower = follower
        self._figures = Reader()
        self._rungs = Rungs(table, state)

    async def routes(self, request: Request) -> Response:
        """GET: every route and the coverage; of a fleet with the figures of all hosts, with ?host those of this one
        alone. ``rung`` of a switched route is what was compared since it stands where it does. ``problem`` is there
        where the switches can't be read, ``fleet`` where these are a fleet's; ``you`` is whose token it is, and its
        role."""
        own = figures = await self._figures.now()
        if "host" not in request.query_params:
            figures = await asyncio.to_thread(self._state.of_all, own)
        switches, problem = await asyncio.to_thread(self._read)
        fleet = await asyncio.to_thread(self._fleet, own)
        token: Token = request.state.token
        you = {"name": token.name, "role": token.role}
        found = overview(self._table, switches, figures, await self._notes())
        rungs = await asyncio.to_thread(self._rungs.told, switches, await self._figures.evidence())
        for row, data in zip(self._table, found["routes"], strict=True):
            if row.switched:
                data["rung"] = rungs[name(row)]
        of_fleet = {"fleet": fleet} if fleet is not None else {}
        return JSONResponse({**found, "problem": problem, "you": you, **of_fleet})

    async def change(self, request: Request) -> Response:
        """PATCH {"route", "share", "mirror"}, or {"route", "hold"}: the route's new row.

        A share that is set ends a trip. A hold is a reason, which sets the share to 0 as well, or null, which releases.
        """
        sent = await json_object(request)
        row = self._switched(sent.pop("route", None))
        operation = _operation(self._state, row.key, sent, request.state.token.name)
        back = sent.get("share") == 0 or sent.get("hold") is not None
        kept = await self._set_broken_aside(or_empty=False) if back else {}
        await self._operate(operation)
        switches, _ = await asyncio.to_thread(self._read)
        told = row_of(row, self._table, switches, await self._figures.now(), await self._notes())
        evidence = await self._figures.evidence()
        told["rung"] = await asyncio.to_thread(self._rungs.of_row, row, switches, evidence)
        return JSONResponse({**told, **kept})

    async def rollback(self, request: Request) -> Response:
        """POST {} or {"hold"}: every share to 0, as one change. Answers the routes that were taken back or held, and
        where switches that were broken are now, as ``set_aside``."""
        sent = await json_object(request)
        if sent.keys() - {"hold"}:
            raise HTTPException(400, 'Send {} or {"hold": why}: it takes every route back. PATCH routes for one.')
        hold = _reason(sent["hold"]) if "hold" in sent else None
        kept = await self._set_broken_aside(or_empty=True)
        back = await self._operate(partial(rollback_all, self._state, by=request.state.token.name, hold=hold))
        return JSONResponse({"routes": [str(transition.key) for transition in back], **kept})

    async def history(self, request: Request) -> Response:
        """GET ?route=&last=: ``{"history": [event, ...]}``, the newest first; of all routes if none is named."""
        name, last = request.query_params.get("route"), request.query_params.get("last", "100")
        if not last.isascii() or not last.isdigit() or not 1 <= int(last[:6]) <= MOST_EVENTS:
            raise HTTPException(400, f"last is a number from 1 to {MOST_EVENTS}.")
        try:
            # A route that the app has no more has a history all the same.
            events = await asyncio.to_thread(self._state.history, _parsed(name) if name else None, int(last))
        except GraftError as error:
            raise HTTPException(503, str(error)) from error
        told = [{**event.as_data(), "text": change_text(event.before, event.after)} for event in events]
        return JSONResponse({"history": told})

    async def promotion(self, request: Request) -> Response:
        """GET ?route=: where the route stands on the ladder, by which gates, and how its last climb ended."""
        row = self._switched(request.query_params.get("route"))
        figures = figures_of(row, self._table, await self._figures.evidence())
        return JSONResponse(await self._operate(partial(self._standing, row.key, figures)))

    async def promote(self, request: Request) -> Response:
        """POST {"route", "action"}: ``start`` has the gateway climb by itself, ``stop`` ends that, ``step`` takes one
        step if its gates are open. Answers as GET, with ``did``. ``by`` may name who asks, beside the token's name."""
        sent = await json_object(request)
        row = self._switched(sent.pop("route", None))
        action, by, why = sent.pop("action", None), sent.pop("by", None), sent.pop("why", None)
        if action not in ("start", "step", "stop") or sent:
            raise HTTPException(400, 'Send "route" and "action", which is start, step or stop.')
        if not isinstance(by, str | None) or not isinstance(why, str | None):
            raise HTTPException(400, "by and why are texts.")
        who = request.state.token.name
        who = f"{one_line(by)[:100]} ({who})" if by and one_line(by) else who
        figures = figures_of(row, self._table, await self._figures.evidence())
        operation = {"start": self._start, "step": self._step, "stop": self._stop}[action]
        try:
            answer = await asyncio.to_thread(operation, row.key, figures, who, why)
        except RouteHeld as error:
            raise HTTPException(423, str(error)) from error
        except SwitchesError as error:
            raise HTTPException(409, str(error)) from error
        return JSONResponse(answer)

    def _start(self, key: RouteKey, figures: RouteFigures, by: str, why: str | None) -> dict[str, Any]:
        transition = start_climb(self._state, key, by=by, why=why)
        climbed = transition.before.climb is not None
        did = ("climbs already" if climbed else "climbs") if transition.after.climb is not None else "native"
        return {**self._standing(key, figures), "did": did}

    def _stop(self, key: RouteKey, figures: RouteFigures, by: str, why: str | None) -> dict[str, Any]:
        before = stop_climb(self._state, key, by=by, why=why).before
        return {**self._standing(key, figures), "did": "no climb" if before.climb is None else "stopped"}

    def _step(self, key: RouteKey, figures: RouteFigures, by: str, why: str | None) -> dict[str, Any]:
        """With the gates that were decided by, and the share and mirror of after."""
        switch = self._state.read().for_route(key)
        refuse_if_held(key, switch)
        rung = self._state.baselines.begin(key, switch, figures, folders.server_name())
        standing = Standing.of(key, switch, rung)
        if standing.at_the_top:
            did = "native"
        elif standing.verdict is not Verdict.OPEN or standing.bakes_for:
            did = "stays"
        else:
            did = "promoted" if promote(self._state, standing, by=by) else "changed meanwhile"
        after = self._state.read().for_route(key)
        return {**standing_data(standing, ()), "share": after.share, "mirror": after.mirror, "did": did}

    def _standing(self, key: RouteKey, figures: RouteFigures) -> dict[str, Any]:
        switch = self._state.read().for_route(key)
        rung = self._state.baselines.rung(key, switch, figures, folders.server_name())
        events: list[Event] = []
        with suppress(GraftError):  # how the last climb ended can't be told then; where the route stands can
            events = self._state.history(key, 200)
        return standing_data(Standing.of(key, switch, rung or Rung()), events)

    async def figures(self, request: Request) -> Response:
        """GET ?route=: what was counted for one route, with its histograms, which ``graft promote`` decides by."""
        row = self._find(request.query_params.get("route"))
        return JSONResponse(figures_of(row, self._table, await self._figures.evidence()).as_data())

    async def advice(self, request: Request) -> Response:
        """GET: ``{"advice": [...]}``: which routes of the Flask app would gain by a native one, the best first."""
        advice = advise(self._table, await metrics())
        return JSONResponse({"advice": [one.as_json() for one in advice]})

    async def differences(self, request: Request) -> Response:
        """GET ?route=: ``{"differences": [group, ...], "noise": {route: [...]}, "untold": {route: [...]}}``; of all
        routes if none is named."""
        name = request.query_params.get("route")
        key = self._find(name).key if name else None
        try:
            report = await read_report(difference_store(self._settings, request.state.elasticsearch), key)
        except DifferencesError as error:
            raise HTTPException(503, f"The differences can't be read: {error}") from error
        return JSONResponse(report.as_data(EXAMPLES))

    async def clear(self, request: Request) -> Response:
        """DELETE ?route=: ``{"cleared": number}``; of all routes if none is named. What was learned goes, too."""
        name = request.query_params.get("route")
        key = _parsed(name) if name else None  # a route that the app has no more may have differences all the same
        try:
            cleared = await difference_store(self._settings, request.state.elasticsearch).clear(key)
        except DifferencesError as error:
            raise HTTPException(503, f"The differences can't be cleared: {error}") from error
        log.info("%s cleared the %d differences of %s", request.state.token.name, cleared, key or "all routes")
        return JSONResponse({"cleared": cleared})

    def _find(self, text: object) -> Row:
        """The row that ``text`` names; by the native route's name, or by the rule's own."""
        try:
            return find_row(self._table, _parsed(text))
        except UnknownRoute as error:
            raise HTTPException(404, str(error)) from None

    def _switched(self, text: object) -> Row:
        try:
            return switched_row(self._table, self._find(text).key)
        except NotSwitched as error:
            raise HTTPException(409, str(error)) from None

    def _fleet(self, own: Mapping[str, RouteFigures]) -> dict[str, Any] | None:
        """(a thread of the pool)"""
        fleet = self._state.fleet
        return None if fleet is None else {**fleet, **self._state.hosts(own)}

    def _read(self) -> tuple[Switches, str | None]:
        """The switches as they are now, an instant newer perhaps than what this worker follows; else the last good ones
        and the reason. (a thread of the pool)"""
        try:
            return self._state.read(), None
        except SwitchesError as error:
            return self._follower.switches, str(error)

    async def _set_broken_aside(self, *, or_empty: bool) -> dict[str, str]:
        """Before a route is taken back: that is done over switches which are broken, too."""
        kept = await self._operate(partial(self._state.set_broken_aside, or_empty=or_empty))
        if kept is None:
            return {}
        log.warning("%s", said := set_aside(self._state.place, kept))
        return {"set_aside": said}

    @staticmethod
    async def _operate(operation: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(operation)
        except (SwitchesError, OperationRefused) as error:
            raise HTTPException(409, str(error)) from error

    async def _notes(self) -> Notes:
        if "_found" not in self.__dict__:
            await asyncio.to_thread(getattr, self, "_found")
        return self._found

    @cached_property
    def _found(self) -> Notes:
        return notes(self._table)


def _parsed(text: object) -> RouteKey:
    try:
        return RouteKey.parse(text if isinstance(text, str) else "")
    except ValueError:
        raise HTTPException(400, 'Name the "route", as in "GET /path/{id:int}".') from None


def _operation(state: State, key: RouteKey, sent: dict[str, Any], by: str) -> Callable[[], object]:
    """The operation that a PATCH of ``by`` asks for."""
    if sent.keys() == {"hold"}:
        if sent["hold"] is None:
            return partial(release, state, key, by=by)
        return partial(rollback, state, key, by=by, hold=_reason(sent["hold"]))
    unknown = sorted(sent.keys() - {"share", "mirror"})
    if unknown or not sent:
        found = f"There is no setting {unknown[0][:40]!r} here. " if unknown else ""
        mend = 'Send "share", "mirror" or both, in percent; or "hold" alone, a reason or null.'
        raise HTTPException(400, found + mend)
    percents = {name: _percent(name, value) for name, value in sent.items()}
    if "share" in percents:
        return partial(shift, state, key, percents["share"], by=by, mirror=percents.get("mirror"))
    return partial(mirror, state, key, percents["mirror"], by=by)


def _reason(text: object) -> str:
    if not isinstance(text, str) or not one_line(text):
        raise HTTPException(400, 'hold is the reason, as in {"hold": "wrong totals"}.')
    return text


def _percent(name: str, value: object) -> float:
    try:
        return _PERCENT.validate_python(value)
    except ValidationError:
        raise HTTPException(
            400, f"{name} is {str(value)[:40]!r}; send a number from 0 to 100 with at most two decimals."
        ) from None


_PERCENT: TypeAdapter[float] = TypeAdapter(Percent)
