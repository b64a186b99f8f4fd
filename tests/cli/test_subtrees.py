"""A subtree is named, shown and moved by the commands as any other switched route."""

from __future__ import annotations

import json

from tests.cli.project import Project

MOUNTED = """
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def item(request):
        return PlainTextResponse("native")

    routes = [Mount("/items", routes=[Route("/{id:int}", item)]), Route("/items/{id:int}/more", item)]
"""


def test_a_subtree_is_shown_and_moved_by_its_key(project: Project) -> None:
    project.write("async_routes/__init__.py", MOUNTED)
    (row,) = json.loads(project.run("routes", "--switched", "--json").stdout)["routes"]
    assert (row["route"], row["share"], row["mirror"], row["native"]) == ("ANY /items/*", 0, 100, "async_routes.Router")
    assert "ANY /items/*" in project.run("routes").stdout
    moved = project.run("shift", "ANY /items/*", "50")
    assert (moved.exit_code, moved.stdout) == (0, "ANY /items/*: share 0 -> 50, mirror 100\n")
    mirrored = project.run("mirror", "ANY /items/*", "10")
    assert mirrored.exit_code == 0
    assert "warning" not in mirrored.stderr, "what writes is not mirrored"
    assert '["ANY /items/*"]' in (project.folder / "switches.toml").read_text()
    assert "share 50" in project.run("rollback", "ANY /items/*").stdout
    assert "ANY /items/*" in project.run("history").stdout


def test_a_rule_of_a_subtree_has_no_switch_of_its_own(project: Project) -> None:
    project.write("async_routes/__init__.py", MOUNTED)
    ended = project.run("shift", "GET /items/{id:int}", "50")
    assert ended.exit_code == 2
    assert 'is part of "ANY /items/*", which has one switch for all of it.' in ended.output


def test_doctor_points_out_what_stands_behind_a_mount(project: Project) -> None:
    project.write("async_routes/__init__.py", MOUNTED)
    told = project.run("doctor").output
    assert "takes all its requests" in " ".join(told.split())
