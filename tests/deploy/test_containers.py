"""Docker, compose and Kubernetes: read by linters and schemas; what they start is started."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from graft.operations.watcher import Watcher
from graft.settings import Settings
from graft.types import RouteKey
from tests.deploy.running import DEPLOY, PATIENCE, Site, graft
from tests.parts import free_port
from tests.parts.gateway import PROJECT, environment

BIN = Path(sys.executable).parent
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "docker" / "compose.yaml"
KEY = RouteKey("GET", "/x")
KUSTOMIZATION = DEPLOY / "kubernetes" / "kustomization.yaml"
MANIFESTS = sorted(set((DEPLOY / "kubernetes").glob("*.yaml")) - {KUSTOMIZATION})


def instructions(name: str) -> list[str]:
    """What the last stage of the Dockerfile says after ``name``, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text()).rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.*)$", text, re.M)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    checked = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_image_has_what_it_copies_and_no_more() -> None:
    allowed = [
        line[1:]
        for line in (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [word for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE.read_text(), re.M) for word in line.split()]
    sources = {word.rstrip("/") for word in copied if (PROJECT / word).exists() and word not in ("./", "/tmp/")}
    assert sources == set(allowed)
    assert not any(fnmatch(name, pattern) for name in (".env", "var", ".git", "tests") for pattern in allowed)


def test_it_runs_as_a_user_that_is_a_number_and_not_root() -> None:
    assert instructions("USER") == ["10001:10001"]


def test_what_the_image_starts_answers_its_own_health_check(tmp_path: Path) -> None:
    env = dict(pair.split("=", 1) for pair in instructions("ENV")[0].split())
    env.pop("PATH")
    port = free_port()
    settings = {**env, "HOST": "127.0.0.1", "PORT": str(port), "GRAFT_DATA": str(tmp_path), "WEB_CONCURRENCY": "1"}
    settings |= {"PORTAL_DATA": str(tmp_path), "GRAFT_SWITCHES": str(tmp_path / "switches.toml")}
    command = [str(BIN / word) if word == "gunicorn" else word for word in json.loads(instructions("CMD")[-1])]
    (check,) = re.findall(r"CMD (\[.*\])$", instructions("HEALTHCHECK")[0])
    words = [sys.executable, *json.loads(check)[1:]]

    def healthy() -> bool:
        return subprocess.run(words, env=environment(PORT=str(port)), capture_output=True).returncode == 0

    assert not healthy()
    with Site(command, tmp_path / "log", env=environment(**settings), cwd=PROJECT) as process:
        process.wait_for(healthy, PATIENCE, "the health check to pass")


SITE = {"GRAFT_LEGACY": "tests.deploy.site.legacy:app", "GRAFT_NATIVE": "tests.deploy.site.native"}
KEY_OF_BOTH = "GET /both"


def image_environment() -> dict[str, str]:
    env = dict(pair.split("=", 1) for pair in instructions("ENV")[0].split())
    env.pop("PATH")
    return env


def of_the_cluster() -> dict[str, str]:
    return {**of_kind("ConfigMap", "graft-settings")["data"], **of_kind("Secret")["stringData"]}


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_in_the_container_the_command_line_finds_the_gateway_from_any_folder(kind: str, tmp_path: Path) -> None:
    """``docker exec`` and ``kubectl exec`` have the container's environment, and may start anywhere."""
    env = image_environment() | (of_the_cluster() if kind == "kubernetes" else {}) | SITE
    # What is at a fixed place of the container is below this folder.
    moved = {"HOST": "127.0.0.1", "PORT": str(free_port()), "WEB_CONCURRENCY": "1", "ELASTICSEARCH_URL": ""}
    moved["GRAFT_FLEET"] = ""  # it has no cluster here: the switches are a file
    for name in ("GRAFT_DATA", "PORTAL_DATA", "GRAFT_SWITCHES"):
        if name in env:
            moved[name] = f"{tmp_path}{env[name]}"
            Path(moved[name]).parent.mkdir(parents=True, exist_ok=True)
    project, elsewhere = tmp_path / "srv", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    for name in ("gateway.py", "gunicorn.conf.py"):
        (project / name).symlink_to(PROJECT / name)
    env = {**env, **moved, "TMPDIR": str(elsewhere), "XDG_RUNTIME_DIR": ""}
    file = Path(env.get("GRAFT_SWITCHES") or project / "switches.toml")
    file.write_text(f'["{KEY_OF_BOTH}"]\nshare = 50\n')
    command = [str(BIN / word) if word == "gunicorn" else word for word in json.loads(instructions("CMD")[-1])]
    with Site(command, tmp_path / "log", env=environment(**env), cwd=project) as process:
        process.bind = f"127.0.0.1:{env['PORT']}"
        process.wait_for(process.ready, PATIENCE, "the site to answer")
        code, out, err = graft("routes", "--json", folder=elsewhere, **env)
        assert code == 0, err
        assert {row["route"]: row["share"] for row in json.loads(out)["routes"]}[KEY_OF_BOTH] == 50
        assert f"{file}, the gateway at http://{process.bind}" in err
        code, out, err = graft("rollback", "--all", folder=elsewhere, **env)
        assert (code, out) == (0, f"{KEY_OF_BOTH}: share 50 -> 0\n"), err
        assert err.startswith(f"{file} was changed; the gateway at http://{process.bind}")


# -- compose ----------------------------------------------------------------------------------------------------------


def test_compose_is_what_its_schema_says() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_mounts_what_is_there_and_fills_in_every_word_of_the_template() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    mounts = [mount for service in services.values() for mount in service.get("volumes", ()) if mount.startswith(".")]
    assert [mount for mount in mounts if not (COMPOSE.parent / mount.split(":")[0]).exists()] == []
    template = (DEPLOY / "nginx" / "graft.conf.template").read_text()
    words = set(re.findall(r"\$\{([A-Z0-9_]+)\}", template))
    assert words <= set(services["nginx"]["environment"])


def test_compose_pins_its_images_and_publishes_nothing_but_nginx() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert all(re.search(r":\d+\.\d+", service["image"]) for service in services.values() if "image" in service)
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = [one for one in documents() if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_schemas_take_every_manifest(path: Path) -> None:
    command = [BIN / "kubernetes-validate", "--strict", path]
    checked = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_pod_has_time_to_drain() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    grace = Settings.model_fields["graceful_timeout"].default
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > grace + pause


def test_the_manifests_name_each_other_and_real_settings() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Service", "graft")["spec"]["selector"].items() <= labels.items()
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "graft"
    backends = of_kind("Ingress")["spec"]["rules"][0]["http"]["paths"]
    services = {one["metadata"]["name"] for one in documents() if one["kind"] == "Service"}
    assert {path["backend"]["service"]["name"] for path in backends} == services
    known = {field.validation_alias.choices[0] for field in Settings.model_fields.values()}  # type: ignore[union-attr]
    data = of_kind("ConfigMap", "graft-settings")["data"]
    assert set(data) | set(of_kind("Secret")["stringData"]) <= known
    assert all(isinstance(value, str) for value in data.values())
    assert data["GRAFT_FLEET"]


def test_the_kustomization_has_every_manifest() -> None:
    found = yaml.safe_load(KUSTOMIZATION.read_text())
    assert found["kind"] == "Kustomization"
    assert sorted(found["resources"]) == [path.name for path in MANIFESTS]


async def test_workers_follow_a_config_map_as_the_kubelet_swaps_it(tmp_path: Path) -> None:
    """The mounted file is a link to ..data/switches.toml, and ..data a link that is renamed over."""

    def bring(version: str, share: int) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "switches.toml").write_text(f'["GET /x"]\nshare = {share}\n')
        (tmp_path / "..next").symlink_to(version)
        (tmp_path / "..next").rename(tmp_path / "..data")

    bring("..2026_01", 10)
    (tmp_path / "switches.toml").symlink_to("..data/switches.toml")
    async with Watcher(tmp_path / "switches.toml") as watcher:
        assert watcher.switches[KEY].share == 10
        bring("..2026_02", 55)
        async with asyncio.timeout(5):
            while watcher.switches[KEY].share != 55:
                await asyncio.sleep(0.01)
