"""One thing is broken: the rest of the service keeps working, users see a clean error, the log names the cause.

docs/faults.md has the table; a test at the end compares it with the tests.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.deploy.running import Site, site
from tests.parts import free_port, in_one_line, program, wait_until
from tests.parts.gateway import COMMANDS, PROJECT, run_to_the_end
from tests.search.servers import Answer, elasticsearch, serving

TOKEN = "the-token-of-the-operator"
TABLE = PROJECT / "docs" / "faults.md"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faulty")
    env = {"GRAFT_LEGACY": "tests.deploy.site.faulty:app", "GRAFT_LEGACY_TIMEOUT": "1.5", "GRAFT_LEGACY_THREADS": "2"}
    with site(folder, f"127.0.0.1:{free_port()}", WEB_CONCURRENCY="1", **env) as process:
        yield process


def goes_on(process: Site) -> None:
    with process.client() as client:
        assert client.get("/native").status_code == client.get("/legacy").status_code == 200


VIEWS = {
    "/exit": "SystemExit: 3",
    "/interrupt": "KeyboardInterrupt",
    "/memory": "MemoryError",
    "/recursion": "RecursionError",
    "/disk": "No space left on device",
    "/wsgi/nothing": "without a call of start_response",
    "/wsgi/none": "NoneType",
    "/wsgi/text": "type str, which is not bytes",
    "/wsgi/header": "has a value that can't be sent",
    "/wsgi/status": "the status 'abc'",
    "/wsgi/length": "shorter than its Content-Length",
}


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_that_breaks_is_a_500_for_its_user_and_a_line_for_the_operator(faulty: Site, path: str) -> None:
    before = faulty.workers()
    with faulty.client() as client:
        try:
            answer = client.get(path)
            assert answer.status_code == 500
            assert "Traceback" not in answer.text
            assert answer.headers["x-request-id"]
        except httpx.RemoteProtocolError:
            assert path == "/wsgi/length"  # it had begun to answer
    assert VIEWS[path] in faulty.output()
    goes_on(faulty)
    assert faulty.workers() == before


def test_a_teardown_that_raises_is_a_clean_500_as_under_any_wsgi_server(faulty: Site) -> None:
    with faulty.client() as client:
        answer = client.get("/teardown")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "legacy_error")
    assert "BreakingTeardown: in teardown" in faulty.output()
    goes_on(faulty)


def test_a_stream_that_raises_half_way_is_cut_so_that_the_client_can_tell(faulty: Site) -> None:
    with faulty.client() as client, suppress(httpx.RemoteProtocolError):
        assert client.get("/half").status_code == 500, "it raised before anything was on its way"
    assert "half-way through the stream" in faulty.output()
    goes_on(faulty)


def test_a_view_that_hangs_is_504_and_its_thread_counted_and_named(faulty: Site) -> None:
    with faulty.client() as client:
        begun = time.monotonic()
        answer = client.get("/hang")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "legacy_timeout")
        assert time.monotonic() - begun < 2.9
    assert re.search(
        r"GET /hang \(hang\) gave no answer within 1\.5 s; it is in .*faulty\.py:\d+, hang", faulty.output()
    )
    goes_on(faulty)


@pytest.mark.parametrize("path", ["/segfault", "/gone"])
def test_a_view_that_takes_its_process_along_costs_one_worker_for_a_moment(tmp_path: Path, path: str) -> None:
    with site(tmp_path, f"127.0.0.1:{free_port()}", GRAFT_LEGACY="tests.deploy.site.faulty:app") as process:
        before = process.workers()
        with process.client() as client, pytest.raises(httpx.RemoteProtocolError):
            client.get(path)
        goes_on(process)  # the other worker, at once
        process.wait_for(lambda: len(process.workers()) == 2 and process.workers() != before, 20, "another worker")
        assert re.search(r"Worker \(pid:\d+\) (was sent SIGSEGV|exited with code 1)", process.output())


SHARDS = {"error": {"type": "search_phase_execution_exception", "reason": "all shards failed"}, "status": 503}
FULL = {"error": {"type": "es_rejected_execution_exception", "reason": "rejected execution of search"}, "status": 429}
# What the server answers (None: nothing, ever), the code that the user gets, and the cause that the operator reads.
SEARCHES: dict[str, tuple[dict[str, Answer] | None, str, str]] = {
    "down": ({}, "search_unavailable", "can't be reached: "),
    "hanging": (None, "search_unavailable", "can't be reached: Connection timed out"),
    "slow": ({"*": Answer(seconds=6.0)}, "search_unavailable", "can't be reached: Connection timed out"),
    "a page": ({"*": Answer(200, "<p>hello!", {}, "text/html")}, "search_mismatch", "is not Elasticsearch"),
    "garbage": ({"*": Answer(200, "{garbage")}, "search_unavailable", "is not Elasticsearch"),
    "red": (
        {**elasticsearch(health={"status": "red"}), "*": Answer(503, SHARDS)},
        "search_unavailable",
        "is red: some of its data is not available",
    ),
    "red and silent": (
        {**elasticsearch(), "/_cluster/health": Answer(503, SHARDS), "*": Answer(503, SHARDS)},
        "search_unavailable",
        "answers with status 503: all shards failed",
    ),
    "too busy": ({"*": Answer(429, FULL)}, "search_unavailable", "answers with status 429: rejected execution"),
    "strict": ({"*": Answer(401, {"error": "no"})}, "search_unavailable", "refuses the credentials (status 401)"),
}


@pytest.fixture
async def searching(tmp_path: Path) -> AsyncIterator[Callable[[str], Site]]:
    """Starts the portal's native routes with Elasticsearch at an address."""
    with ExitStack() as stack:

        def start(url: str) -> Site:
            env = {"ELASTICSEARCH_URL": url, "GRAFT_NATIVE": "async_routes", "WEB_CONCURRENCY": "1"}
            return stack.enter_context(site(tmp_path, f"127.0.0.1:{free_port()}", ready="/legacy", **env))

        yield start


@pytest.mark.parametrize("fault", SEARCHES)
async def test_without_elasticsearch_all_but_the_search_goes_on(searching: Callable[[str], Site], fault: str) -> None:
    answers, code, cause = SEARCHES[fault]
    async with AsyncExitStack() as stack:
        if fault == "down":
            url = f"http://127.0.0.1:{free_port()}"
        else:
            url = await stack.enter_async_context(serving(answers))
        process = searching(url)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{process.bind}", timeout=20))
        begun = time.monotonic()
        search = asyncio.create_task(client.get("/api/search?q=word"))
        assert (await client.get("/legacy")).status_code == 200  # meanwhile
        answer = await search
        assert time.monotonic() - begun < 8
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
        assert "Traceback" not in answer.text
        assert url not in answer.text

        ready = await client.get("/_graft/ready")
        assert ready.status_code == 503
        assert cause in ready.json()["parts"]["search"]
        assert url in ready.json()["parts"]["search"]
        assert (await client.get("/_graft/health")).status_code == 200
        log = [line for line in process.output().splitlines() if answer.headers["x-request-id"] in line]
        assert any(" WARNING " in line and f"{code}: " in line and url in line for line in log), log


JUMPING = """
import time
_real = time.time
_begun = time.monotonic()
time.time = lambda: _real() + ({seconds} if time.monotonic() - _begun > 2 else 0)
"""


@pytest.mark.parametrize("seconds", [-7200, 7200, 10 * 365 * 86400], ids=["two hours back", "two on", "ten years on"])
def test_a_clock_that_jumps_costs_no_worker_and_no_request(tmp_path: Path, seconds: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING.format(seconds=seconds))
    env = {"PYTHONPATH": f"{tmp_path}:{PROJECT}", "WEB_CONCURRENCY": "1"}
    with site(tmp_path, f"127.0.0.1:{free_port()}", "--timeout", "3", **env) as process:
        before = process.workers()
        for _ in range(12):
            goes_on(process)
            time.sleep(0.5)
        assert process.workers() == before
        assert "WORKER TIMEOUT" not in process.output()


class FullDisk:
    """The data folder is a small file system of its own, which only the site sees."""

    cause = "No space left on device"
    under = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0" && exec "$@"')

    def __init__(self, data: Path) -> None:
        self.data = data
        trial = subprocess.run([*self.under, str(data), "true"], capture_output=True, text=True)
        if trial.returncode != 0:
            why = in_one_line(trial.stderr)
            pytest.skip(f"no file system of its own can be mounted: run as root, or allow user namespaces ({why})")
        self.under = (*self.under, str(data))

    def begin(self, process: Site) -> None:
        self.fill = Path(f"/proc/{process.pid}/root{self.data}/fill")
        with self.fill.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def end(self) -> None:
        self.fill.unlink()


class ReadOnlyFolder:
    """The data folder belongs to the site's user, and may only be read."""

    cause = "Permission denied"

    def __init__(self, data: Path) -> None:
        self.data = data
        # Root may write everywhere, unless this is taken from it.
        rootless = ("--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
        self.under = (program("setpriv", "apt install util-linux"), *rootless) if os.geteuid() == 0 else ()

    def begin(self, process: Site) -> None:
        self._allow(False)

    def end(self) -> None:
        self._allow(True)

    def _allow(self, writing: bool) -> None:
        for path in [self.data, *self.data.rglob("*")]:
            mode = path.stat().st_mode
            path.chmod(mode | 0o200 if writing else mode & ~0o222)


@pytest.mark.parametrize("fault", [FullDisk, ReadOnlyFolder])
def test_without_a_place_to_write_all_that_only_reads_goes_on(
    tmp_path: Path, fault: type[FullDisk | ReadOnlyFolder]
) -> None:
    (data := tmp_path / "var").mkdir()
    broken, token = fault(data), {"Authorization": f"Bearer {TOKEN}"}
    env = {"GRAFT_SWITCHES": str(data / "switches.toml"), "SITE_COUNT": str(data / "count"), "GRAFT_ADMIN_TOKEN": TOKEN}
    with site(tmp_path, f"127.0.0.1:{free_port()}", under=broken.under, **env) as process, process.client() as client:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        before = process.workers()
        broken.begin(process)
        try:
            for path in ("/native", "/legacy", "/both", "/stream/3/0", "/native-events?wait=0", "/_graft/health"):
                assert client.get(path).status_code == 200, path
            assert client.post("/upload", content=b"x" * 100_000).json()["size"] == 100_000

            failed = client.post("/count", content=b"word")
            assert failed.status_code == 500
            assert "Traceback" not in failed.text
            refused = client.patch("/_graft/api/routes", headers=token, json={"route": "GET /both", "share": 50})
            assert refused.status_code == 409
            assert broken.cause.lower() in refused.json()["error"]["message"].lower()
            assert "switches.toml" in refused.json()["error"]["message"]
            assert client.get("/_graft/metrics", headers=token).status_code == 200

            task = client.get("/native-task").json()["id"]
            wait_until(lambda: client.get(f"/native-task?id={task}").json() == {"state": "done"}, 5, "the task")

            assert process.workers() == before, process.output()[-3000:]
            os.kill(min(before), signal.SIGKILL)  # a new one has to come into this world
            process.wait_for(lambda: len(process.workers() - before) == 1, 10, "a new worker")
            (new,) = process.workers() - before
            process.wait_for(lambda: answered_by(process, new), 10, "its answer")
        finally:
            broken.end()
        assert broken.cause in process.output()
        goes_on(process)
        with process.client() as again:
            share = {"route": "GET /both", "share": 50}
            assert again.patch("/_graft/api/routes", headers=token, json=share).json()["share"] == 50
            assert again.post("/count", content=b"word").status_code == 200


def answered_by(process: Site, worker: int) -> bool:
    with process.client() as client:
        return bool(client.get("/native").json()["pid"] == worker)


@pytest.mark.parametrize("command", ["python", "gunicorn"])
@pytest.mark.parametrize("place", ["a file in the way", "read-only"])
def test_a_data_folder_that_can_not_be_written_is_one_line_at_the_start(
    tmp_path: Path, command: str, place: str
) -> None:
    (data := tmp_path / "var").mkdir()
    (data / "file").write_text("no folder")
    under = ReadOnlyFolder(data).under
    data.chmod(0o555)
    env = {"GRAFT_DATA": str(data / "file" if place == "a file in the way" else data), "PORTAL_DATA": str(tmp_path)}
    ended = run_to_the_end([*under, *COMMANDS[command]], folder=PROJECT, env=env)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0, said
    assert "GRAFT_DATA" in said
    assert str(data) in said
    assert "Traceback" not in said


def test_every_row_of_the_table_names_a_test_that_exists() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) >= 25
    for row in rows:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) or [("", row)]:
            tree = ast.parse((PROJECT / file).read_text())
            names = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
            assert name in names, row
