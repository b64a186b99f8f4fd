"""How long a connection waits for whom, and how much it takes."""

from __future__ import annotations

LAST_CALL = 0.5
"""Seconds that a quiet connection is kept: more than a proxy on a busy machine needs from connecting to writing."""

HEAD_PATIENCE = 20.0
"""Seconds for the head of a request, from its first byte to its last."""

BODY_PATIENCE = 60.0
"""Seconds in which a body has to make progress, while there is room for it: ``BODY_PROGRESS`` bytes, or its end."""

BODY_PROGRESS = 6000

WRITE_PATIENCE = 60.0
"""Seconds in which a client has to read something of what waits for it."""

LINGER = 5.0
"""Seconds in which what a client still sends is thrown away, after it was told that the connection ends. Closed at
once, the socket would answer with a reset, and the client might lose the response that it has not read yet."""

HALF_CLOSED = 0.5
"""Seconds in which a client that has closed its own half may still get its answer. Most of them have left."""

MOST_HEADERS = 200
"""Of a request. Browsers send 20; each one costs the loop and the app, and 64 KB have room for thousands."""

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head; also of what stands between the chunks of a body."""

BUFFERED = 64 * 1024
"""Above this, in bytes, a body waits in the socket until the app has received what there is."""

DISCARDED = 16 * 1024 * 1024
"""Up to this, in bytes, the rest of a body is read whose request was answered already, to keep the connection."""

SLICE = 16 * 1024
"""Bytes given to the parser at a time: limits hold within one big segment, too."""
