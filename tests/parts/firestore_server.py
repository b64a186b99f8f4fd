"""A local server that speaks Firestore's gRPC protocol: documents in memory, set and read by name."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.parts import Process, accepts, free_port

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """``host:port`` for FIRESTORE_EMULATOR_HOST, while it runs."""
    port = free_port()
    command = [sys.executable, "-m", "tests.parts.firestore_server", str(port)]
    with Process(command, folder / "firestore.log", cwd=PROJECT) as server:
        server.wait_for(lambda: accepts(port), 20, "the local Firestore to listen")
        yield f"127.0.0.1:{port}"


async def serve(port: int) -> None:
    import grpc
    from google.cloud.firestore_v1.types import firestore

    methods = {
        "Commit": grpc.unary_unary_rpc_method_handler(
            commit, firestore.CommitRequest.deserialize, firestore.CommitResponse.serialize
        ),
        "BatchGetDocuments": grpc.unary_stream_rpc_method_handler(
            batch_get, firestore.BatchGetDocumentsRequest.deserialize, firestore.BatchGetDocumentsResponse.serialize
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", methods)],
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


documents: dict[str, Any] = {}


async def commit(request: Any, context: Any) -> Any:
    from google.cloud.firestore_v1.types import firestore, write

    now = datetime.now(UTC)
    for one in request.writes:
        document = one.update
        document.create_time = document.update_time = now
        documents[document.name] = document
    results = [write.WriteResult(update_time=now) for _ in request.writes]
    return firestore.CommitResponse(write_results=results, commit_time=now)


async def batch_get(request: Any, context: Any) -> AsyncIterator[Any]:
    from google.cloud.firestore_v1.types import firestore

    now = datetime.now(UTC)
    for name in request.documents:
        found = {"found": documents[name]} if name in documents else {"missing": name}
        yield firestore.BatchGetDocumentsResponse(read_time=now, **found)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
