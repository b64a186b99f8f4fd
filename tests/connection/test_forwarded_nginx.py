"""Both sides of the gateway behind a real Nginx, with a prefix, with TLS and with whatever strangers send."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.parts import Process, accepts, free_port, nginx

SERVER = """
server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    server_name localhost;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Prefix "";
    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    location /app/ {{
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Forwarded-Prefix /app;
        proxy_pass http://127.0.0.1:{upstream}/;
    }}
}}
"""


@dataclass(frozen=True)
class Served:
    plain: int
    tls: int
    upstream: int
    prefix: str
    trust: ssl.SSLContext

    def both(self, url: str, **headers: str) -> Any:
        """What both sides say at ``url``; they must say the same."""
        said = []
        with httpx.Client(verify=self.trust) as client:
            for side in ("native", "legacy"):
                response = client.get(f"{url}{self.prefix}/{side}", headers=headers)
                assert response.headers["x-served-by"] == side
                said.append(response.json())
        assert said[0] == said[1]
        return said[0]


@pytest.fixture(
    scope="module",
    params=[{}, {"GRAFT_LEGACY_PREFIX": "/old"}, {"PROXY_FIX": "1"}, {"PROXY_FIX": "1", "GRAFT_LEGACY_PREFIX": "/old"}],
    ids=lambda environ: " ".join(environ) or "plain",
)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("nginx")
    environ: dict[str, str] = request.param
    plain, tls, upstream = free_port(), free_port(), free_port()
    certificate, key = nginx.certificate(folder)
    servers = SERVER.format(plain=plain, tls=tls, upstream=upstream, certificate=certificate, key=key)
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.connection.proxied_app:app",
        "--port",
        str(upstream),
        "--lifespan",
        "off",
    ]
    root = Path(__file__).parents[2]
    with ExitStack() as stack:
        app = stack.enter_context(
            Process(
                command,
                folder / "app.log",
                env={**os.environ, "GRAFT_FORWARDED": "host,port,prefix", **environ},
                cwd=root,
            )
        )
        stack.enter_context(nginx.running(folder, servers, (plain, tls)))
        app.wait_for(lambda: accepts(upstream), 20, "the app to listen")
        trust = ssl.create_default_context(cafile=str(certificate))
        yield Served(plain, tls, upstream, environ.get("GRAFT_LEGACY_PREFIX", ""), trust)


@pytest.mark.parametrize("below", ["", "/app"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_scheme_host_port_prefix_and_client_are_those_of_the_visitor(served: Served, scheme: str, below: str) -> None:
    port = served.plain if scheme == "http" else served.tls
    base = f"{scheme}://localhost:{port}{below}"
    assert served.both(base) == {
        "url": f"{base}{served.prefix}/legacy",
        "client": "127.0.0.1",
        "to": f"{base}{served.prefix}/legacy",
        "root": below + served.prefix,
    }


def test_what_a_visitor_forges_does_not_get_through_a_proxy_that_sets_its_headers(served: Served) -> None:
    base = f"https://localhost:{served.tls}"
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X_Forwarded_Host": "evil.example",
    }
    assert served.both(base, **forged)["to"] == f"{base}{served.prefix}/legacy"
    assert served.both(base, **forged)["client"] == "127.0.0.1"


def test_underscores_pass_for_dashes_neither_behind_nginx_nor_without_it(served: Served) -> None:
    forged = {"X_Forwarded_Host": "evil.example", "X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https"}
    said = served.both(f"http://127.0.0.1:{served.upstream}", **forged)
    assert said["to"] == f"http://127.0.0.1:{served.upstream}{served.prefix}/legacy"
    assert said["client"] == "127.0.0.1"
