"""A local server that speaks OpenAI's chat completions, and Gemini's, with a model that follows a script.

The name of the model says how it behaves: ``scripted`` answers, ``stalls`` says a few words and then nothing more,
``silent`` never says anything, ``fails`` answers 500, ``cuts`` drops the connection in the middle, ``babbles`` sends
what is no JSON. ``GET /square?n=`` is an ordinary upstream service; ``GET /seen`` tells what was asked and who left.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.parts import Process, accepts, free_port

PROJECT = Path(__file__).resolve().parents[2]

seen: dict[str, Any] = {"requests": [], "abandoned": 0}


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address, while it runs; OpenAI's clients want ``/v1`` behind it."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.parts.openai_server:app", "--port", str(port)]
    with Process([*command, "--log-level", "warning"], folder / "openai.log", cwd=PROJECT) as server:
        server.wait_for(lambda: accepts(port), 20, "the local model to listen")
        yield f"http://127.0.0.1:{port}"


async def square(request: Request) -> JSONResponse:
    n = int(request.query_params["n"])
    await asyncio.sleep(0.001)
    return JSONResponse({"n": n, "answer": n * n})


async def completions(request: Request) -> Response:
    asked = await request.json()
    seen["requests"].append(
        {"messages": asked["messages"], "authorization": request.headers.get("authorization"), "model": asked["model"]}
    )
    model = asked["model"]
    if model == "silent":
        await _until_left(request)
    if model == "fails":
        return JSONResponse({"error": {"message": "the model is on fire", "type": "server_error"}}, 500)
    answer = _answer(asked["messages"])
    if not asked.get("stream"):
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(_completion(model, "chat.completion", choices=[choice]))
    return StreamingResponse(_streamed(request, model, answer), media_type="text/event-stream")


async def _streamed(request: Request, model: str, answer: str) -> AsyncIterator[str]:
    pieces = re.findall(r"\S+\s*|\s+", answer)
    try:
        for number, piece in enumerate(pieces):
            yield _event(model, {"content": piece})
            if model == "slow":
                await asyncio.sleep(0.05)
            if number == 1 and model == "stalls":
                await asyncio.sleep(3600)
            if number == 1 and model == "cuts":
                raise ConnectionResetError("cut off on purpose")
            if number == 1 and model == "babbles":
                yield "data: {this is no JSON\n\n"
        yield _event(model, {}, "stop")
        yield "data: [DONE]\n\n"
    except (asyncio.CancelledError, GeneratorExit):
        seen["abandoned"] += 1
        raise


async def _until_left(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.02)
    seen["abandoned"] += 1


def _event(model: str, delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps(_completion(model, 'chat.completion.chunk', choices=[choice]))}\n\n"


def _completion(model: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, **rest}


ANSWER = "The passages say [1] that this is how it is done, according to the model."


def _answer(messages: list[dict[str, str]]) -> str:
    """``square 12`` is 144; any question gets the same answer, and who asks to go on gets the rest of it."""
    asked = messages[-1]["content"]
    if number := re.fullmatch(r"square (\d+)", asked.strip()):
        return str(int(number[1]) ** 2)
    begun = messages[-2]["content"] if "where you stopped" in asked else ""
    return ANSWER.removeprefix(begun)


async def gemini(request: Request) -> Response:
    asked = await request.json()
    answer = _answer([{"content": asked["contents"][-1]["parts"][0]["text"]}])
    if request.path_params["call"].endswith(":generateContent"):
        return JSONResponse(_candidates(answer))
    halves = [answer[: len(answer) // 2], answer[len(answer) // 2 :]]
    events = "".join(f"data: {json.dumps(_candidates(half))}\r\n\r\n" for half in halves if half)
    return Response(events, media_type="text/event-stream")


def _candidates(text: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "modelVersion": "scripted"}


async def told(request: Request) -> JSONResponse:
    return JSONResponse(seen)


app = Starlette(
    routes=[
        Route("/square", square),
        Route("/v1/chat/completions", completions, methods=["POST"]),
        Route("/{version}/models/{call:path}", gemini, methods=["POST"]),
        Route("/seen", told),
    ]
)
