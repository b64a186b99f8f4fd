"""The example's native routes over its small catalogue, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from async_routes import articles, search
from graft.bridge.mount import LegacyMount
from graft.flaskside.legacy import Legacy
from graft.search import indexing
from graft.search.client import open_client
from graft.settings import Settings
from graft.threads.executor import LegacyExecutor
from tests.legacy_flask.portal import app, built, data

__all__ = ["app", "built", "data"]

OpenClient = Callable[[], AsyncElasticsearch]


def settings_of(data: Path, url: str | None = None) -> Settings:
    return Settings.load(data=data, elasticsearch_url=(url,) if url else ())


@pytest.fixture(scope="session", params=["embedded", "real"])
def engine(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenClient:
    """Opens a client of an engine that has the articles of the small catalogue."""
    real = request.getfixturevalue("real_elasticsearch") if request.param == "real" else None
    settings = settings_of(tmp_path_factory.mktemp("engine"), real.url if real else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTAL_DATA", str(built))
        asyncio.run(_fill(settings))
    return lambda: open_client(settings)


async def _fill(settings: Settings) -> None:
    async with open_client(settings) as client:
        for index in search.indexes:
            await indexing.build(client, index)


def native_app(client: OpenClient, portal: Flask) -> Starlette:
    legacy = Legacy(portal, LegacyExecutor(LegacyMount(portal).pool))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with client() as elasticsearch:
            yield {"elasticsearch": elasticsearch, "legacy": legacy, "request_id": "test-request"}
            for pool in legacy.threads.pools:
                await pool.aclose()

    return Starlette(routes=[*search.routes, Mount("/", app=articles.app)], lifespan=lifespan)


@pytest.fixture
def native(engine: OpenClient, app: Flask) -> Iterator[TestClient]:
    with TestClient(native_app(engine, app)) as client:
        yield client


@pytest.fixture
def without_index(tmp_path: Path, app: Flask) -> Iterator[TestClient]:
    """An engine that is there, but has no articles yet."""
    with TestClient(native_app(lambda: open_client(settings_of(tmp_path)), app)) as client:
        yield client


@pytest.fixture
def without_server(app: Flask) -> Iterator[TestClient]:
    """Nothing listens where the client looks."""
    with TestClient(native_app(lambda: AsyncElasticsearch("http://127.0.0.1:9", max_retries=0), app)) as client:
        yield client
