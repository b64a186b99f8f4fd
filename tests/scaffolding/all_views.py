"""``python -m tests.scaffolding.all_views FRAMEWORK [translate]``: twins of the GET views of GRAFT_LEGACY, made here.

Both sides are asked, as a browser and as a program. Prints ``{route: [outcome, note, what differs, what is left]}``.
What writes behind the fence is asked again without it: the app is here for nobody else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from graft.control.offline import table_of
from graft.recordings.exchange import Exchange
from graft.recordings.imported import STATIC
from graft.scaffolding.contract import targets_of
from graft.scaffolding.module import Framework, module_text
from graft.scaffolding.translation import translate
from graft.scaffolding.view import View
from graft.settings import Settings
from graft.verification import Identity, Outcome, open_sides, verify


async def check(settings: Settings, targets: dict[str, str]) -> dict[str, Any]:
    exchanges = [
        Exchange("GET", f"http://localhost{target}", (), None, 200, (), None, f"{number:05}", route=route)
        for number, (route, target) in enumerate(targets.items())
    ]
    found: dict[str, Any] = {}
    async with open_sides(settings) as sides:
        for user in (Identity(), Identity(headers=(("accept", "application/json"),))):
            asked = await verify(sides, exchanges, identity=user)
            for exchange, verdict in zip(exchanges, asked.verdicts, strict=True):
                if verdict.outcome is Outcome.NOT_COMPARABLE:
                    [verdict] = (await verify(sides, [exchange], identity=user, allow_writes=True)).verdicts
                if found.get(exchange.route, ["same"])[0] == "same":
                    told = [each.what for each in verdict.differences]
                    found[exchange.route or ""] = [str(verdict.outcome), verdict.note, told]
    return found


def main(framework: str, translated: str = "") -> None:
    settings = Settings.load()
    package = Path("async_routes")
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    targets: dict[str, str] = {}
    marks: dict[str, tuple[str, ...]] = {}
    for row in table_of(settings):
        rule = row.legacy
        if row.native is None and rule is not None and rule.key.method == "GET" and not rule.endpoint.endswith(STATIC):
            view = View.of(rule)
            name = f"{view.name}_{len(targets)}"  # one view may have several rules
            translation = translate(view) if translated else None
            text = module_text(view, Framework(framework), None, translation)
            (package / f"{name}.py").write_text(text, encoding="utf-8")
            marks[str(rule.key)] = translation.marks if translation is not None else ()
            [targets[str(rule.key)]] = targets_of(view, [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "async_routes"]:
        del sys.modules[name]
    found = asyncio.run(check(settings, targets))
    print(json.dumps({route: [*told, marks[route]] for route, told in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
