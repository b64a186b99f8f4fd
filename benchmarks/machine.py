"""The machine, the versions and the commit that a figure belongs to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import ROOT
from benchmarks.settings import Settings
from tests.parts.elasticsearch import VERSION as ELASTICSEARCH

PACKAGES = (
    "starlette", "uvicorn", "uvloop", "httptools", "gunicorn", "flask", "werkzeug", "a2wsgi", "asgiref", "granian",
    "aiohttp", "requests", "elasticsearch", "elastic-transport",
)  # fmt: skip


def describe(settings: Settings) -> dict[str, Any]:
    """All that is needed to judge a figure, or to take it again. Looks for a second how busy the machine is already."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "pinned": settings.cores,
        "busy_percent": psutil.cpu_percent(interval=1),
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "versions": {**_packages(), "elasticsearch server": ELASTICSEARCH, "wrk": _wrk()},
    }


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit() -> str:
    """Short, with a ``+`` when files that it keeps have been changed since; empty outside a repository."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _wrk() -> str:
    """``wrk -v`` ends with 1 and prints its usage behind the version."""
    told = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True)
    found = re.search(r"wrk (\S+)", told.stdout + told.stderr)
    return found[1] if found else "unknown"
