"""A wheel of the Graft that runs, for a project that has it from a folder of this machine, which no other one has."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.resources import files
from pathlib import Path

PACKAGES = ("graft", "embedded_elasticsearch")
_WHEEL = "Wheel-Version: 1.0\nGenerator: graft\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_NOT_PACKED = frozenset({"__pycache__"})


def name_of(found: Distribution) -> str:
    return f"{_stem(found)}-py3-none-any.whl"


def build(found: Distribution) -> bytes:
    """The packages as they are now, with the metadata of ``found``. The same files give the same bytes."""
    information = f"{_stem(found)}.dist-info"
    packed = dict(_packages())
    packed[f"{information}/METADATA"] = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").encode()
    packed[f"{information}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    packed[f"{information}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in packed.items())
    packed[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in packed.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _packages() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            below = path.relative_to(root)
            if path.is_file() and not _NOT_PACKED.intersection(below.parts):
                yield f"{package}/{below.as_posix()}", path.read_bytes()


def _stem(found: Distribution) -> str:
    return f"{found.metadata['Name'].replace('-', '_')}-{found.version}"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
