"""The files by which a project is deployed, for its own app: ``graft init`` puts them into its ``deploy/``.

Nginx's and systemd's are the ones that the repository ships for the example, with the project's names in the place of
Graft's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.cli.template_files import template

HOST = "example.org"
"""What the site is called until somebody says."""


@dataclass(frozen=True)
class Deployment:
    """``name`` is the service's, the user's and the image's; the project is expected at ``/srv/NAME``."""

    name: str
    gateway: str
    target: str
    package: str
    """The folder with ``static/`` in it, below the project; may be empty."""
    vendored: bool
    """Does requirements.txt lead to a wheel in ``vendor/``?"""
    host: str = HOST

    def files(self) -> Iterator[tuple[str, str]]:
        """Name below the project, and text."""
        yield "deploy/Dockerfile", self._filled_in("Dockerfile.txt")
        yield "deploy/Dockerfile.dockerignore", self._filled_in("Dockerfile.dockerignore.txt")
        yield "deploy/compose.yaml", self._filled_in("compose.yaml.txt")
        yield f"deploy/{self.name}.service", self._service()
        yield "deploy/nginx.conf", self._nginx()
        yield "deploy/pages/unavailable.html", template("deploy/unavailable.html.txt")
        yield "deploy/pages/unavailable.json", template("deploy/unavailable.json.txt")
        yield "deploy/kubernetes/app.yaml", self._filled_in("kubernetes.yaml.txt")
        yield "deploy/kubernetes/kustomization.yaml", self._filled_in("kustomization.yaml.txt")

    def _filled_in(self, name: str) -> str:
        text = template(f"deploy/{name}")
        for word, value in (
            ("@NAME@", self.name),
            ("@GATEWAY@", self.gateway),
            ("@TARGET@", self.target.replace("'", '"')),
            ("@VENDOR@", "COPY vendor/ vendor/\n" if self.vendored else ""),
        ):
            text = text.replace(word, value)
        return text

    def _service(self) -> str:
        lines = template("deploy/service.txt").splitlines(keepends=True)
        text = "".join(line for line in lines if "PORTAL_DATA" not in line and not line.startswith("Documentation="))
        text = text.replace("Graft: native async routes in front of a Flask app", f"{self.name}, a Flask app, by Graft")
        text = text.replace("gateway:app", f"{self.gateway}:app").replace(
            '"import gateway"', f'"import {self.gateway}"'
        )
        return self._named(text)

    def _nginx(self) -> str:
        _, _, text = template("deploy/nginx.conf.txt").partition("\n\n")
        values = {
            "SERVER_NAME": self.host,
            "HTTP": "80",
            "HTTPS": "443",
            "PUBLIC_PORT": "",
            "UPSTREAM": f"unix:/run/{self.name}/{self.name}.sock",
            "UPSTREAM_2": f"unix:/run/{self.name}/{self.name}.sock",
            "CERTIFICATE": f"/etc/letsencrypt/live/{self.host}/fullchain.pem",
            "CERTIFICATE_KEY": f"/etc/letsencrypt/live/{self.host}/privkey.pem",
            "STATIC": f"/srv/{self.name}/{self.package}".rstrip("/"),
            "PAGES": f"/srv/{self.name}/deploy/pages",
            "STATE": f"/run/{self.name}",
            "ACCESS_LOG": f"/var/log/nginx/{self.name}.log",
        }
        text = re.sub(r"\$\{NGINX_(\w+)\}", lambda found: values[found[1]], self._named(text))
        return (
            f"# Nginx in front of {self.name}. Copy to /etc/nginx/conf.d/{self.name}.conf, then: nginx -t && systemctl "
            f"reload nginx\n# Change the name {self.host} and the certificate's files to yours.\n\n{text}"
        )

    def _named(self, text: str) -> str:
        return re.sub(r"\bgraft\b", self.name, text)


def name_of(folder: Path, target: str) -> str:
    """What a service may be called everywhere: the folder's name, or the app's package where that says nothing."""
    for text in (folder.resolve().name, target.partition(":")[0].partition(".")[0]):
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name) and name not in _SAYS_NOTHING:
            return name
    return "flask-app"


def static_parent(folder: Path, target: str) -> str:
    """Where the app's ``static/`` is, below ``folder``, as far as can be told without importing it."""
    module = target.partition(":")[0].split(".")
    for place in (Path(*module), Path(*module[:-1]), Path(module[0]), Path("src", module[0]), Path()):
        if (folder / place / "static").is_dir():
            return "" if place == Path() else str(place)
    return module[0] if (folder / module[0]).is_dir() else ""


_SAYS_NOTHING = frozenset({"app", "src", "project", "web", "wsgi", "main", "code", "repo", "graft"})
