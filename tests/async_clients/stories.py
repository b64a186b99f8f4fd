"""The apps of this folder, the services they talk to, the servers that run them, and what came of 500 requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp

from tests.parts import elasticsearch, firestore_server, openai_server, postgres, redis
from tests.parts.gateway import PROJECT, serving

REQUESTS = 500
AT_ONCE = 16
GUNICORN = (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--graceful-timeout", "3")
UVICORN_WORKER = "uvicorn.workers.UvicornWorker"
APPS = "tests.async_clients.apps"
SUSPICIOUS = re.compile(
    r"Event loop is closed|attached to a different loop|different event loop|bound to a different|Traceback"
    r"|\w*Warning\b|was never (awaited|retrieved)|Unclosed|Unhandled"
)

ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception|Closed\w*|Warning): \S")
PATIENCE = 30.0  # seconds for all requests to one app; what has no answer by then has none


@dataclass(frozen=True)
class Story:
    """One Flask app. ``needs`` are the services that it talks to."""

    app: str
    title: str
    needs: str


STORIES = (
    Story("elastic", "`AsyncElasticsearch`, a search API on a real Elasticsearch", "elasticsearch"),
    Story("redis_client", "`redis.asyncio` on a real Redis", "redis"),
    Story("langgraph_agent", "LangGraph agent, a checkpoint after each answer (`AsyncSqliteSaver`)", "checkpoints"),
    Story("openai_client", "`AsyncOpenAI`, streaming", "model"),
    Story("gemini", "google-genai (`client.aio`), whole and streaming", "model"),
    Story("firestore_client", "Firestore `AsyncClient` over grpc.aio", "firestore"),
    Story("httpx_client", "`httpx.AsyncClient`", "model"),
    Story("aiohttp_client", "`aiohttp.ClientSession`", "model"),
    Story("asyncpg_pool", "asyncpg pool on a real PostgreSQL", "postgres"),
    Story("psycopg_connection", "psycopg async connection on a real PostgreSQL", "postgres"),
    Story("sqlalchemy_async", "SQLAlchemy async engine on a real PostgreSQL", "postgres"),
    Story("aiosqlite_connection", "aiosqlite connection", ""),
    Story("background_loop", "sync views over a background loop thread of the team's own", "model"),
    Story("asgiref_sync", "sync views with `asgiref.sync`", "model"),
    Story("asyncio_run", "sync views with `asyncio.run`", "model"),
)


class Services:
    """What the apps talk to, each started when the first app needs it."""

    def __init__(self, folder: Path, stack: ExitStack, search_url: str | None = None) -> None:
        """``search_url`` is that of an Elasticsearch that runs already."""
        self.search_url = search_url
        self._folder = folder
        self._stack = stack

    def environment(self, needs: str, folder: Path) -> dict[str, str]:
        """What an app finds in its environment; ``folder`` is for files of this one run."""
        if not needs:
            return {}
        if needs == "checkpoints":
            return {"CHECKPOINTS": str(folder / "checkpoints.sqlite3")}
        environment: dict[str, str] = getattr(self, f"_{needs}")
        return environment

    @cached_property
    def _elasticsearch(self) -> dict[str, str]:
        url = self.search_url or self._stack.enter_context(elasticsearch.running()).url
        lines = [part for n in range(REQUESTS) for part in ({"index": {"_id": str(n)}}, {"n": n, "square": n * n})]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        call = urllib.request.Request(f"{url}/numbers/_bulk?refresh=true", body, method="POST")
        call.add_header("Content-Type", "application/x-ndjson")
        with urllib.request.urlopen(call, timeout=60) as answer:
            assert json.load(answer)["errors"] is False
        return {"SEARCH_URL": url}

    @cached_property
    def _redis(self) -> dict[str, str]:
        port = self._stack.enter_context(redis.running(self._own("redis")))
        return {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    @cached_property
    def _postgres(self) -> dict[str, str]:
        url = self._stack.enter_context(postgres.running(self._own("postgres")))
        return {"DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://")}

    @cached_property
    def _model(self) -> dict[str, str]:
        url = self._stack.enter_context(openai_server.running(self._own("model")))
        return {"CHAT_URL": f"{url}/v1", "GEMINI_URL": url, "UPSTREAM_URL": url}

    @cached_property
    def _firestore(self) -> dict[str, str]:
        return {"FIRESTORE_EMULATOR_HOST": self._stack.enter_context(firestore_server.running(self._own("firestore")))}

    def _own(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


@dataclass
class Outcome:
    """What came of the requests to one app under one server."""

    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    suspicious: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.right == REQUESTS and not self.wrong and not self.suspicious


@contextmanager
def graft(story: Story, log: Path, env: Mapping[str, str]) -> Iterator[Any]:
    """Gunicorn and the gateway, two workers."""
    switches = {"GRAFT_SWITCHES": str(log.parent / "switches.toml"), "WEB_CONCURRENCY": "2"}
    (log.parent / "no_native_routes.py").write_text("routes = []\n")
    own = {"GRAFT_LEGACY": f"{APPS}.{story.app}:app", "GRAFT_NATIVE": "no_native_routes", **switches, **env}
    own["PYTHONPATH"] = f"{PROJECT}:{log.parent}"
    with serving("gunicorn", folder=PROJECT, log=log, env=own, ready="/_graft/health") as gateway:
        yield gateway


@contextmanager
def gthread(story: Story, log: Path, env: Mapping[str, str]) -> Iterator[Any]:
    """Gunicorn with threads, as Flask apps are usually deployed: two workers of 16."""
    command = [*GUNICORN, "--worker-class", "gthread", "--threads", "16", "--config", "/dev/null"]
    with serving([*command, f"{APPS}.{story.app}:app"], folder=PROJECT, log=log, env=dict(env)) as server:
        yield server


@contextmanager
def a2wsgi_mount(story: Story, log: Path, env: Mapping[str, str]) -> Iterator[Any]:
    """The app under a plain ``a2wsgi.WSGIMiddleware``, two of Uvicorn's workers."""
    (log.parent / "mounted.py").write_text(
        f"from a2wsgi import WSGIMiddleware\nfrom {APPS}.{story.app} import app as flask_app\n"
        "app = WSGIMiddleware(flask_app, workers=16)\n"
    )
    command = [*GUNICORN, "--worker-class", UVICORN_WORKER, "--config", "/dev/null", "mounted:app"]
    own = {**env, "PYTHONPATH": f"{PROJECT}:{log.parent}"}
    with serving(command, folder=PROJECT, log=log, env=own) as server:
        yield server


SERVERS: dict[str, Callable[[Story, Path, Mapping[str, str]], Any]] = {
    "Graft": graft,
    "gunicorn gthread": gthread,
    "plain a2wsgi mount": a2wsgi_mount,
}


def tell(story: Story, server: str, services: Services, folder: Path) -> Outcome:
    """Run the app under ``server`` and send it the requests."""
    env = services.environment(story.needs, folder)
    log = folder / "log"
    with SERVERS[server](story, log, env) as running:
        outcome = asyncio.run(_ask_all(running.base_url))
    lines = log.read_text(errors="replace").splitlines()
    outcome.suspicious = [line for line in lines if SUSPICIOUS.search(line)]
    outcome.errors = Counter(line.strip() for line in lines if ERROR.match(line))
    return outcome


async def _ask_all(base_url: str) -> Outcome:
    outcome, numbers = Outcome(), iter(range(REQUESTS))
    # A connection a request: the workers share them out.
    connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
    async with aiohttp.ClientSession(base_url, connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
        with contextlib.suppress(TimeoutError):
            asking = asyncio.gather(*(_ask_some(session, numbers, outcome) for _ in range(AT_ONCE)))
            await asyncio.wait_for(asking, PATIENCE)
    unanswered = REQUESTS - outcome.right - outcome.wrong.total()
    if unanswered:
        outcome.wrong["no answer"] += unanswered
    return outcome


async def _ask_some(session: aiohttp.ClientSession, numbers: Iterator[int], outcome: Outcome) -> None:
    for n in numbers:
        try:
            async with session.get("/ask", params={"n": n}) as answer:
                if answer.status != 200:
                    outcome.wrong[f"status {answer.status}"] += 1
                elif await answer.json() != expected(n):
                    outcome.wrong["a wrong answer"] += 1
                else:
                    outcome.right += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome.wrong[type(error).__name__] += 1


def expected(n: int) -> dict[str, int]:
    return {"n": n, "answer": n * n}
