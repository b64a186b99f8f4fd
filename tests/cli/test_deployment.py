"""What ``graft init`` writes into ``deploy/`` is what each tool wants, and is for this app."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from graft.cli.deployment import Deployment, name_of, static_parent
from graft.settings import Settings
from tests.cli.project import Project
from tests.parts import program
from tests.parts.gateway import PROJECT

BIN = Path(sys.executable).parent
TEMPLATES = PROJECT / "graft/cli/templates/deploy"
DEPLOYMENT = Deployment("blog", "gateway", "flaskr:create_app('x')", "flaskr", vendored=True, host="blog.example.org")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in DEPLOYMENT.files():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "deploy"


@pytest.mark.parametrize(
    ("shipped", "template"),
    [
        ("nginx/graft.conf.template", "nginx.conf.txt"),
        ("systemd/graft.service", "service.txt"),
        ("nginx/pages/unavailable.html", "unavailable.html.txt"),
        ("nginx/pages/unavailable.json", "unavailable.json.txt"),
    ],
)
def test_the_templates_are_the_files_that_are_shipped(shipped: str, template: str) -> None:
    assert (PROJECT / "deploy" / shipped).read_text() == (TEMPLATES / template).read_text()


def test_hadolint_finds_nothing_in_the_dockerfile(files: Path) -> None:
    checked = subprocess.run([BIN / "hadolint", files / "Dockerfile"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_compose_is_what_its_schema_says(files: Path) -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", files / "compose.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    service = yaml.safe_load((files / "compose.yaml").read_text())["services"]["blog"]
    assert (files / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == files / "Dockerfile"


def test_kubernetes_schemas_take_every_manifest_and_they_name_each_other(files: Path) -> None:
    manifest = files / "kubernetes/app.yaml"
    command = [BIN / "kubernetes-validate", "--strict", manifest]
    checked = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert checked.returncode == 0, checked.stdout + checked.stderr
    of_kind: dict[str, Any] = {one["kind"]: one for one in yaml.safe_load_all(manifest.read_text())}
    pod = of_kind["Deployment"]["spec"]["template"]
    assert of_kind["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    claim = pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == of_kind["PersistentVolumeClaim"]["metadata"]["name"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > Settings.model_fields["graceful_timeout"].default + 10
    known = {field.validation_alias.choices[0] for field in Settings.model_fields.values()}  # type: ignore[union-attr]
    assert set(of_kind["ConfigMap"]["data"]) <= known
    kustomization = yaml.safe_load((files / "kubernetes/kustomization.yaml").read_text())
    assert kustomization["resources"] == [manifest.name]
    assert kustomization["images"][0]["name"] == pod["spec"]["containers"][0]["image"].partition(":")[0]


def test_nginx_takes_its_configuration(files: Path, tmp_path: Path) -> None:
    nginx = program("nginx", "apt-get install nginx-light")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=blog.example.org"
    words = [*shlex.split(command), "-keyout", key, "-out", certificate]
    subprocess.run(words, check=True, capture_output=True)
    text = (files / "nginx.conf").read_text()
    assert "server_name blog.example.org;" in text
    assert "root /srv/blog/flaskr;" in text
    assert not re.search(r"\$\{|@[A-Z]+@", text)
    text = re.sub(r"/etc/letsencrypt/\S+/fullchain.pem", str(certificate), text)
    text = re.sub(r"/etc/letsencrypt/\S+/privkey.pem", str(key), text)
    text = text.replace("/var/log/nginx/", f"{tmp_path}/")
    whole = tmp_path / "whole.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\nerror_log {tmp_path}/error;\n{text}}}\n")
    checked = subprocess.run([nginx, "-t", "-c", whole, "-p", tmp_path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_unit_is_of_this_app_alone(files: Path) -> None:
    text = (files / "blog.service").read_text()
    assert "ExecStart=/srv/blog/.venv/bin/gunicorn gateway:app --bind unix:/run/blog/blog.sock" in text
    assert not re.search(r"\bgraft\b|PORTAL", text)
    assert "EnvironmentFile=-/etc/blog/blog.env" in text


def test_the_dockerfile_names_the_app_and_brings_the_wheel_before_pip_wants_it(files: Path) -> None:
    lines = (files / "Dockerfile").read_text().splitlines()
    assert """ENV GRAFT_LEGACY='flaskr:create_app("x")'""" in lines
    assert lines.index("COPY vendor/ vendor/") < lines.index("RUN pip install --requirement requirements.txt")


@pytest.mark.parametrize(
    ("folder", "target", "name"),
    [
        ("My Shop", "shop:app", "my-shop"),
        ("app", "shop.web:app", "shop"),
        ("src", "app:app", "flask-app"),
        ("9", "a:b", "a"),
    ],
)
def test_a_service_has_a_name_that_says_something(tmp_path: Path, folder: str, target: str, name: str) -> None:
    assert name_of(tmp_path / folder, target) == name


def test_the_static_folder_is_found_by_looking(tmp_path: Path) -> None:
    assert static_parent(tmp_path, "shop.web:app") == ""
    (tmp_path / "static").mkdir()
    assert static_parent(tmp_path, "shop.web:app") == ""
    (tmp_path / "shop" / "static").mkdir(parents=True)
    assert static_parent(tmp_path, "shop.web:app") == "shop"


def test_it_can_be_left_out_and_what_is_there_stays(empty: Project) -> None:
    empty.write("app.py", "from flask import Flask\napp = Flask(__name__)\n")
    empty.run("init", "--no-deploy")
    assert not (empty.folder / "deploy").exists()
    empty.write("deploy/Dockerfile", "FROM theirs")
    ended = empty.run("init", "--host", "shop.example.org")
    assert ended.exit_code == 0, ended.output
    assert (empty.folder / "deploy/Dockerfile").read_text() == "FROM theirs"
    assert "shop.example.org" in (empty.folder / "deploy/nginx.conf").read_text()
