"""Where the SDKs of these apps put what they would send: a file of JSON lines, written by the server's process."""

import json
import os
from pathlib import Path
from threading import Lock

FILE = Path(os.environ["DATA_FOLDER"]) / "reports.jsonl"
_lock = Lock()


def report(kind: str, content: object) -> None:
    with _lock, FILE.open("a") as file:
        file.write(json.dumps([kind, content], default=str) + "\n")
