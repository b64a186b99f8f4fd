from __future__ import annotations

import pytest
from flask import Flask

from graft.flaskside.rules import legacy_rules
from graft.routing.subtrees import lies_beneath, rules_beneath
from graft.types import RouteKey


@pytest.mark.parametrize(
    ("path", "mount", "beneath"),
    [
        ("/reports/", "/reports", True),
        ("/reports/{id:int}", "/reports", True),
        ("/reports/{name}/more", "/reports", True),
        ("/reports/{rest:path}", "/reports", True),
        ("/reports", "/reports", False),
        ("/reportsx/a", "/reports", False),
        ("/{name}/list", "/reports", False),
        ("/{rest:path}", "/reports", False),
        ("/", "", True),
        ("/a/b", "", True),
        ("/acme/list", "/{tenant}", True),
        ("/{name}/list", "/{tenant}", True),
        ("/{rest:path}", "/{tenant}", False),
        ("/a/b/c", "/a/b", True),
        ("/a/x/c", "/a/b", False),
    ],
)
def test_a_rule_lies_beneath_where_all_its_paths_do(path: str, mount: str, beneath: bool) -> None:
    assert lies_beneath(path, mount) is beneath


def test_a_subtree_without_a_host_has_the_rules_of_the_default_host_and_one_with_a_host_its_own() -> None:
    app = Flask("shop", static_folder=None, subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.test"
    app.add_url_rule("/reports/a", "default", lambda: "")
    app.add_url_rule("/reports/a", "api", lambda: "", subdomain="api")
    app.add_url_rule("/reports/b", "other", lambda: "", subdomain="other")
    rules = legacy_rules(app)

    def endpoints(host: str) -> list[str]:
        return [rule.endpoint for rule in rules_beneath(RouteKey("ANY", "/reports/*", host), rules)]

    assert endpoints("") == ["default"]
    assert endpoints("api.shop.test") == ["api"]
