"""Another ASGI app, in a process of its own: what is to replace the gateway has modules of the same names.

The process runs ``main`` in the app's folder. It gets one request a line on stdin and gives one answer a line on what
was its stdout, both as JSON; what the app prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from graft.errors import GraftError
from graft.frameworks import HostedApp
from graft.mirroring.answers import Answer
from graft.mirroring.failures import Failure
from graft.mirroring.fence import Kind
from graft.types import ASGIApp, Side
from graft.verification.asking import LARGEST, NoAnswer, Request, ask


class OtherAppFailed(GraftError):
    """It can't be imported, or ended."""


class OtherApp:
    """The app, seen from here. One request at a time."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name

    async def ask(self, request: Request, *, fenced: bool, allow: Collection[Kind]) -> Answer | NoAnswer:
        asked = {
            "method": request.method,
            "target": request.target,
            "host": request.host,
            "headers": request.headers,
            "body": base64.b64encode(request.body).decode(),
            "fenced": fenced,
            "allow": list(allow),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._process.stdin.drain()
        told = await self.read()
        failure = Failure(*told["failure"]) if told["failure"] is not None else None
        if told["why"] is not None:
            return NoAnswer(told["why"], failure)
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in told["headers"])
        body = base64.b64decode(told["body"])
        line, trace = failure or (None, None)
        return Answer(Side.NATIVE, told["status"], headers, body, told["latency_ms"], trace, line)

    async def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise OtherAppFailed(f"{self._name} ended before it had answered.")
        told: dict[str, Any] = json.loads(line)
        if "problem" in told:
            raise OtherAppFailed(f"{self._name} can't be started: {told['problem']}")
        return told


@asynccontextmanager
async def other_app(folder: Path, name: str) -> AsyncIterator[OtherApp]:
    """``module:app`` in ``folder``, until the block ends. Raises OtherAppFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START, name, cwd=folder, stdin=PIPE, stdout=PIPE, limit=4 * LARGEST
    )
    app = OtherApp(process, name)
    try:
        await app.read()
        yield app
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def main(name: str) -> None:
    """In the other process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        module, _, attribute = name.partition(":")
        app: Any = import_module(module)
        for part in (attribute or "app").split("."):
            app = getattr(app, part)
        asyncio.run(_answer(app, answers))
    except Exception as error:
        _tell(answers, {"problem": f"{type(error).__name__}: {error}"})


async def _answer(app: ASGIApp, answers: BinaryIO) -> None:
    hosted = HostedApp(app, "the app")
    async with hosted.running():
        _tell(answers, {"ready": True})
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            asked = json.loads(line)
            headers = tuple((str(header), str(value)) for header, value in asked["headers"])
            body = base64.b64decode(asked["body"])
            request = Request(asked["method"], asked["target"], asked["host"], headers, body)
            allow = [Kind(kind) for kind in asked["allow"]]
            found = await ask(hosted, request, Side.NATIVE, state={}, fenced=asked["fenced"], allow=allow)
            _tell(answers, _data(found))


def _data(found: Answer | NoAnswer) -> dict[str, Any]:
    if isinstance(found, NoAnswer):
        return {"why": found.why, "failure": found.failure}
    return {
        "why": None,
        "failure": (found.failure, found.error or "") if found.failure is not None else None,
        "status": found.status,
        "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in found.headers],
        "body": base64.b64encode(found.body).decode(),
        "latency_ms": found.latency_ms,
    }


def _tell(answers: BinaryIO, data: dict[str, Any]) -> None:
    answers.write(json.dumps(data).encode() + b"\n")
    answers.flush()


_START = f"import sys; from {__name__} import main; main(sys.argv[1])"
