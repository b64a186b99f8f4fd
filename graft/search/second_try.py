"""One call of Elasticsearch that outlives a node which hangs, or whose machine is gone without a word."""

from __future__ import annotations

from typing import Any

from elastic_transport import AsyncTransport, ConnectionTimeout

from graft.mirroring.fences.elasticsearch_calls import reads


async def perform(transport: AsyncTransport, method: str, target: str, *args: Any, **options: Any) -> Any:
    """As the transport's own ``perform_request``, whose arguments it takes; but what reads, and was not answered in
    time, is asked of another node, once. (event loop)

    The transport asks another node where a connection fails. A node that does not answer costs the whole time, so it is
    left out for a while by then; to ask all others too would hold the user, and ask each of them for a search that is
    slow by itself. What writes may have been done.
    """
    # Looked up at each call: the fence puts a method of its own into the class, at the first mirrored run.
    perform_request = type(transport).perform_request
    try:
        return await perform_request(transport, method, target, *args, **options)
    except ConnectionTimeout:
        is_to_fail = options.get("max_retries") == 0
        if is_to_fail or len(transport.node_pool) < 2 or not reads(method, target.partition("?")[0]):
            raise
    return await perform_request(transport, method, target, *args, **options)
