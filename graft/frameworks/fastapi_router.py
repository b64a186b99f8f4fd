"""FastAPI's router, told which of its routes it is: the gateway has looked the request up already.

FastAPI tries its routes one after the other, and those of an included router twice; that is up to a tenth of what a
small operation costs, and more with every route.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, Route

from graft.types import Receive, Scope, Send

CHOSEN = "graft.frameworks.chosen"
"""In the scope: the route in the app's own list that the gateway has found, or the router that has it; and what the
gateway's own route for it has entered into the scope."""


class ChosenRouter:
    """What an app's middleware ends in, in place of ``router``. (event loop)

    A request without a chosen route goes to ``router``, and so does all that FastAPI itself wants to watch being found.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._known: set[int] = set()
        """Routes by id that enter into the scope what the gateway's route has entered; routers that enter nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chosen: BaseRoute | None
        chosen, entered = scope.pop(CHOSEN, _NONE)
        if chosen is None or scope.get("fastapi.telemetry") is not None:
            await self._router(scope, receive, send)
            return
        if id(chosen) in self._known:
            if isinstance(chosen, Route):
                scope["route"] = chosen
                scope.update(entered)
        elif not self._enter(chosen, entered, scope):
            await self._router(scope, receive, send)
            return
        await chosen.handle(scope, receive, send)

    def _enter(self, chosen: BaseRoute, entered: Scope, scope: Scope) -> bool:
        """As the router does it, where that is no more than Starlette's; and remember what need not be asked again."""
        match, child_scope = chosen.matches(scope)
        if match is not Match.FULL or not child_scope.keys() <= _STARLETTES:
            return False
        stock = type(chosen).matches in (APIRoute.matches, Route.matches)
        if not child_scope or (stock and {**child_scope, "route": chosen} == {**entered, "route": chosen}):
            self._known.add(id(chosen))
        scope.update(child_scope)
        return True


def shorten(app: FastAPI) -> bool:
    """Let ``app``, which has answered nothing yet, end in a ChosenRouter. False where its own router has to look.

    That is where middleware of the app's may change a path, where the app has another ``root_path`` than the gateway,
    and where its router is none of FastAPI's or sets limits while it looks.
    """
    router = app.router
    if app.middleware_stack is not None or app.user_middleware or app.root_path:
        return False
    if type(router) is not APIRouter or getattr(router, "form_limits", None):
        return False
    app.router = ChosenRouter(router)  # type: ignore[assignment]  # for the stack alone, which ends in app.router
    try:
        app.middleware_stack = app.build_middleware_stack()
    finally:
        app.router = router
    return True


_STARLETTES = {"endpoint", "path_params", "route"}
_NONE: tuple[None, Scope] = (None, {})
