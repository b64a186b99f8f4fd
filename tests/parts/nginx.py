"""A real Nginx for tests: a configuration of the test's own, on free ports, gone afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.parts import Process, accepts, program

FRAME = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@contextmanager
def running(folder: Path, servers: str, ports: Sequence[int]) -> Iterator[Process]:
    """Nginx with these ``server`` blocks, once it listens on ``ports``."""
    nginx = program("nginx", "apt install nginx-light")
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(FRAME.format(folder=folder, servers=servers, user=user))
    with Process([nginx, "-p", folder, "-c", config, "-e", "stderr"], folder / "nginx.log") as server:
        server.wait_for(lambda: all(accepts(port) for port in ports), 10, "Nginx to listen")
        yield server


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key."""
    openssl = program("openssl", "apt install openssl")
    made = folder / "localhost.pem", folder / "localhost.key"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made
