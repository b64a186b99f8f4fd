"""A mirrored run may search, with a client that was opened before the first mirrored run of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SEARCHES = """
import asyncio, sys
from pathlib import Path

from graft.mirroring import fence
from graft.mirroring.fence import MirroredWrite, Tried
from graft.mirroring.fences import watch
from graft.search.client import open_client
from graft.settings import Settings


async def main():
    async with open_client(Settings.load(data=Path(sys.argv[1]))) as client:
        await client.index(index="stock", document={"name": "red"}, refresh=True)
        watch()
        tried = Tried()
        fence.current.set(tried)
        print((await client.search(index="stock"))["hits"]["total"]["value"], tried.what)
        try:
            await client.index(index="stock", document={})
        except MirroredWrite:
            print(tried.what)


asyncio.run(main())
"""


def test_a_mirrored_run_may_search_with_the_client_of_the_lifespan_and_not_index(tmp_path: Path) -> None:
    """In a process of its own: once the fence stands, a client that is opened later would be seen in any case."""
    done = subprocess.run([sys.executable, "-c", SEARCHES, str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.stdout == "1 []\n['index into stock']\n", done.stderr
