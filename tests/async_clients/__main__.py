"""``python -m tests.async_clients`` runs every story under every server and writes docs/async-clients.md."""

from __future__ import annotations

import platform
import re
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from tests.async_clients.stories import AT_ONCE, REQUESTS, SERVERS, STORIES, Outcome, Services, tell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "async-clients.md"
PACKAGES = (
    *("flask", "asgiref", "a2wsgi", "gunicorn", "uvicorn", "elasticsearch", "redis", "langgraph", "openai"),
    *("google-genai", "google-cloud-firestore", "httpx", "aiohttp", "asyncpg", "psycopg", "sqlalchemy", "aiosqlite"),
)
HEAD = """# Flask apps with async clients

A Flask view may be `async def`, and then its team reaches for an async client: one for the process, at module level, as
the client's documentation says. Flask runs each such view in an event loop that it makes for that request and closes
after it. The client's connections belong to the first request's loop; from the second one on they are dead, and the
view fails with `RuntimeError: Event loop is closed`, `... attached to a different loop`, or an error of the client's
own, or it waits for ever.

Under Graft, async views of an app that holds such a client share one loop, which lives as long as the worker. Each
step of a view still runs in its request's own thread, so scoped sessions, sqlite3 connections and locks are a request's
own, and a view that blocks keeps nobody from the loop. An app without such clients has its views run as Flask does it.
Nothing in the app is edited for it, and nothing has to be set; `GRAFT_LEGACY_LOOP` names one of the ways.

## The same apps under three servers

Each app below is in `tests/async_clients/apps/`, written as its team would have written it, and knows nothing of
Graft. Each gets {requests} requests, {at_once} at a time, under two workers. A cell says how many were answered right,
and what the rest met most often. `python -m tests.async_clients` writes this page; the tests hold the Graft column.

"""
FOOT = """
Measured on Python {python} with {packages}.

## What still matters under Graft

- With `GRAFT_LEGACY_LOOP=server` views run in the thread of the server's loop, where native routes can share their
  clients. There an async view that holds the loop (a sync database driver, `time.sleep`, much computing) holds all
  native routes of its worker as well. One that took longer than 100 ms without an `await` is named in the log.
- `asyncio.run` and `async_to_sync` in *sync* views make a loop for each call, as they do everywhere: a client must
  live inside that call. That works, and costs a new connection each time; an async view does not.
- On the shared loop `asyncio.current_task()` is a task of Graft's, with all of `asyncio.Task`'s methods, but no
  instance of that class: ask by `asyncio.isfuture`.
- There a step that blocks in sync code (a database driver, `time.sleep`) loses the loop after some 2 ms, and runs on
  beside the others until it next touches the loop. From then on that step of that view begins without the loop, until
  it has ceased to block: its queries run at the same time as everybody's, and no other view waits for them. In the
  middle of a library's coroutine, which counts on having the loop to itself, it is 20 ms, and nothing is learned.
- So between two awaits your own code may run beside other views', as it does under gthread, where each async view has
  a thread and a loop of its own: what views share (a module's dict, a counter) needs the same care as there. A single
  loop that promised more would have each view wait for everybody's queries. What lives on the loop is still changed
  by one step at a time: before each call of asyncio's locks, events, conditions, semaphores, queues, streams and
  transports, of the coroutines of clients' classes that are loaded when the loop begins, and of an async generator, a
  step that runs beside the others waits for the loop, and has it to itself until its next await. What a library of
  another kind changes between two awaits, right after a blocking call in the same step, is not guarded: put an `await
  asyncio.sleep(0)` in between, or make the blocking call by `asyncio.to_thread`.
- The async hooks of a WebSocket's handshake, and what its view calls by `ensure_sync`, run on the loop of the
  requests. Threads that the app starts itself use the shared loop too; with `GRAFT_LEGACY_LOOP=server` or `request`
  their `ensure_sync` makes a loop for each call, as Flask does.
- A pool bounds what is open at once. Many async views now run at the same time in one worker: give pools (`max_size`,
  `pool_size`) the size that your database allows, divided by the workers.
"""


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="async-clients-")))
        folder.chmod(0o755)
        services = Services(folder, stack)
        lines = [f"| app | {' | '.join(SERVERS)} |", "| --- |" + " --- |" * len(SERVERS)]
        for story in STORIES:
            cells = []
            for number, server in enumerate(SERVERS):
                own = folder / f"{story.app}-{number}"
                own.mkdir()
                outcome = tell(story, server, services, own)
                print(f"{story.app:24} {server:20} {outcome.right:4} {dict(outcome.wrong)}", flush=True)
                cells.append(cell(outcome))
            lines.append(f"| {story.title} | {' | '.join(cells)} |")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    head = HEAD.format(requests=REQUESTS, at_once=AT_ONCE)
    PAGE.write_text(head + "\n".join(lines) + "\n" + FOOT.format(python=platform.python_version(), packages=packages))


def cell(outcome: Outcome) -> str:
    if outcome.right == REQUESTS:
        return "all" if not outcome.suspicious else "all, with complaints in the log"
    told = f"**{outcome.right} of {REQUESTS}**"
    if outcome.errors:
        (error, _), *_ = outcome.errors.most_common(1)
        return f"{told}: `{shortened(error)}`"
    return f"{told}: {outcome.wrong.most_common(1)[0][0]}"


def shortened(error: str) -> str:
    """Without addresses of objects and the modules of exceptions, and no longer than a table bears."""
    error = re.sub(r"^(\w+\.)+(?=\w+:)", "", error)
    error = re.sub(r"<[\w.]*?(\w+) object at [^<>]*>", r"\1", error)
    while (bare := re.sub(r"\s*<[^<>]*>", "", error)) != error:  # the innermost first
        error = bare
    error = re.sub(r"\s*<.*?(?=got Future|attached|$)", " ", error).replace("|", "/").strip()
    return error if len(error) <= 100 else error[:97].rstrip() + "..."


if __name__ == "__main__":
    main()
