"""The example, asked what its own OpenAPI document says it can be asked: schemathesis makes up the requests."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi
from starlette.testclient import TestClient

import graft
from async_routes import hello, search
from graft.cli import main
from graft.search import indexing
from graft.search.client import open_client
from graft.settings import Settings
from tests.legacy_flask.portal import HOSTILE, built, data

__all__ = ["built", "data"]

EXAMPLES = 24  # of each operation that has parameters
NATIVE = '["GET /api/articles"]\nshare = 100\nmirror = 0\n["GET /api/articles/{id:int}"]\nshare = 100\nmirror = 0\n'
ALL = tuple(HealthCheck)
CHECKED = [
    not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
]


@pytest.fixture
def site(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The whole gateway over the example with its small catalogue; the articles are answered natively."""
    switches = tmp_path / "switches.toml"
    switches.write_text(NATIVE)
    monkeypatch.setenv("PORTAL_DATA", str(data))
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "var"))
    monkeypatch.setenv("GRAFT_SWITCHES", str(switches))
    for name in ("GRAFT_LEGACY", "GRAFT_NATIVE", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hello, "STEPS", (("nothing", 0.0),))
    asyncio.run(_fill())
    gateway: Any = graft.gateway(serve=False)
    with TestClient(gateway, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


async def _fill() -> None:
    async with open_client(Settings.load()) as client:
        for index in search.indexes:
            await indexing.build(client, index)


def test_the_gateway_keeps_to_the_document_that_graft_openapi_writes(site: TestClient, tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["openapi", "-o", str(tmp_path / "site.json")])
    assert ended.exit_code == 0, ended.output
    document = json.loads((tmp_path / "site.json").read_text())
    validate(document)
    asked, failed = Counter[str](), []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        try:
            _ask(site, operation, asked)
        except Exception as error:
            failed.append(f"{operation.label}: {error}")
    assert not failed, "\n\n".join(failed)
    assert {"GET /api/articles 200", "GET /api/articles 400", "GET /api/articles/{id} 200"} <= asked.keys()
    assert {"POST /login 400", "GET /api/chat/{user_id} 200", "GET /uploads/{upload_id} 302"} <= asked.keys()


def _ask(site: TestClient, operation: Any, asked: Counter[str]) -> None:
    """Right and wrong requests of ``operation``, the same ones in every run; raises what the first answer lacks."""

    @seed(17)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, phases=(Phase.generate,), suppress_health_check=ALL)
    @given(case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
    def keeps_to_it(case: Any) -> None:
        wanted = case.as_transport_kwargs(base_url="http://testserver")
        wanted.pop("cookies", None)
        answer = site.request(**wanted)
        asked[f"{operation.label} {answer.status_code}"] += 1
        case.validate_response(answer, checks=CHECKED)

    keeps_to_it()
    if operation.label == "GET /api/articles/{id}":  # nobody makes up one that is there
        case = operation.Case(path_parameters={"id": HOSTILE["id"]})
        answer = site.get(case.formatted_path)
        asked[f"{operation.label} {answer.status_code}"] += 1
        case.validate_response(answer, checks=CHECKED)


def test_the_page_for_programs_is_linked_and_served(site: TestClient) -> None:
    assert '<a href="/api/docs">API</a>' in site.get("/").text
    page = site.get("/api/docs")
    assert (page.status_code, page.headers["x-served-by"]) == (200, "native")
    assert "/api/openapi.json" in page.text
    described = site.get("/api/openapi.json").json()
    validate(described)
    assert list(described["paths"]) == ["/api/articles", "/api/articles/{id}"]
