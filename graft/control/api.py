"""The JSON API of the control plane: the overview, changes of switches.toml, the stored differences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any

from elasticsearch import ApiError, TransportError
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from graft.control.bodies import json_object
from graft.control.overview import figures_of, overview, row_of
from graft.errors import SwitchesError
from graft.figures.shared import Figures
from graft.mirroring.differences import Differences, as_data
from graft.operations.edits import edit, set_switch
from graft.operations.switches import Percent, Switches, load
from graft.operations.watcher import Watcher
from graft.routing.overlapping_routes import Notes, notes
from graft.routing.table import RouteTable, Row
from graft.search.client import reason
from graft.types import RouteKey

EXAMPLES = 5
"""Of each group of differences, the newest."""


class Api:
    """``table`` and ``watcher`` are those that the gateway routes by."""

    def __init__(self, table: RouteTable, watcher: Watcher) -> None:
        self._table = table
        self._watcher = watcher
        self._figures = Figures()

    async def routes(self, request: Request) -> Response:
        """GET: every route and the coverage, with ``problem`` where switches.toml is broken."""
        figures = await self._figures.now()
        switches, problem = await asyncio.to_thread(self._read)
        told = overview(self._table, switches, figures, await self._notes())
        return JSONResponse({**told, "problem": problem})

    async def change(self, request: Request) -> Response:
        """PATCH {"route", "share", "mirror"}: the route's new row. A share that is set ends a trip."""
        sent = await json_object(request)
        row = self._switched(sent.pop("route", None))
        changes = _changes(sent)
        if "share" in changes:
            changes |= {"tripped": None, "tripped_at": None}
        switches = await self._write(set_switch, self._watcher.path, row.key, **changes)
        return JSONResponse(row_of(row, self._table, switches, await self._figures.now(), await self._notes()))

    async def rollback(self, request: Request) -> Response:
        """POST {}: every share to 0, in one change of the file. Answers the routes that were taken back."""
        if await json_object(request):
            raise HTTPException(400, "Send {}: this takes every route back. PATCH routes for one of them.")
        back = await self._write(self._roll_back)
        return JSONResponse({"routes": [str(key) for key in back]})

    async def figures(self, request: Request) -> Response:
        """GET ?route=: what was counted for one route, with its histograms, which ``graft promote`` decides by."""
        row = self._find(request.query_params.get("route"))
        return JSONResponse(figures_of(row, self._table, await self._figures.now()).as_data())

    async def differences(self, request: Request) -> Response:
        """GET ?route=: ``{"differences": [group, ...], "noise": {route: [...]}}``; of all routes if none is named."""
        wanted = request.query_params.get("route")
        key = self._find(wanted).key if wanted else None
        client = request.state.elasticsearch
        stored = Differences(client)
        try:
            groups, noise = await asyncio.gather(stored.groups(key), stored.noise(key))
        except (ApiError, TransportError) as error:
            raise HTTPException(503, f"The differences can't be read: {reason(error, client)}") from error
        return JSONResponse(as_data(groups, noise, EXAMPLES))

    def _find(self, text: object) -> Row:
        """The row that ``text`` names; by the native route's name, or by the rule's own."""
        try:
            key = RouteKey.parse(text if isinstance(text, str) else "")
        except ValueError:
            raise HTTPException(400, 'Name the "route", as in "GET /path/{id:int}".') from None
        row = self._table.get(key) or next((one for one in self._table if one.legacy and one.legacy.key == key), None)
        if row is None:
            raise HTTPException(404, f"There is no route {str(key)[:200]!r}.")
        return row

    def _switched(self, text: object) -> Row:
        row = self._find(text)
        if not row.switched:
            only = "native side has it: there is nothing to go back to" if row.native else "Flask app has it"
            raise HTTPException(409, f"{row.key} is not switched: only the {only}.")
        return row

    def _read(self) -> tuple[Switches, str | None]:
        """The file as it is now, an instant newer perhaps than what this worker follows; else the last good one."""
        try:
            return load(self._watcher.path), None
        except SwitchesError as error:
            return self._watcher.switches, str(error)

    def _roll_back(self) -> list[RouteKey]:
        with edit(self._watcher.path) as change:
            back = [row.key for row in self._table if row.switched and change.switches.for_route(row.key).share > 0]
            for key in back:
                change.set(key, share=0)
        return back

    @staticmethod
    async def _write(write: Callable[..., Any], *args: Any, **changes: Any) -> Any:
        try:
            return await asyncio.to_thread(write, *args, **changes)
        except SwitchesError as error:
            raise HTTPException(409, str(error)) from error

    async def _notes(self) -> Notes:
        if "_found" not in self.__dict__:
            await asyncio.to_thread(getattr, self, "_found")
        return self._found

    @cached_property
    def _found(self) -> Notes:
        return notes(self._table)


def _changes(sent: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(sent.keys() - {"share", "mirror"})
    if unknown or not sent:
        reason = f"There is no setting {unknown[0][:40]!r} here. " if unknown else ""
        raise HTTPException(400, f'{reason}Send "share", "mirror" or both, in percent.')
    return {name: _percent(name, value) for name, value in sent.items()}


def _percent(name: str, value: object) -> float:
    try:
        return _PERCENT.validate_python(value)
    except ValidationError:
        raise HTTPException(
            400, f"{name} is {str(value)[:40]!r}; send a number from 0 to 100 with at most two decimals."
        ) from None


_PERCENT: TypeAdapter[float] = TypeAdapter(Percent)
