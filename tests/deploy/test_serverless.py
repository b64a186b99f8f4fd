"""AWS Lambda through Mangum, driven with recorded events in a fresh interpreter, as Lambda starts one."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.running import DEPLOY
from tests.parts.gateway import PROJECT, environment

EVENTS = Path(__file__).parent / "events"
PROGRAM = """
import json, sys
sys.path.insert(0, "deploy/serverless")
import aws_lambda
print(json.dumps([aws_lambda.handler(event, None) for event in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the handler answers to each event, twice over in one instance."""
    names = sorted(path.stem for path in EVENTS.glob("*.json"))
    events = [json.loads((EVENTS / f"{name}.json").read_text()) for name in names]
    folder = tmp_path_factory.mktemp("lambda")
    env = environment(
        GRAFT_DATA=str(folder),
        GRAFT_SWITCHES=str(folder / "switches.toml"),
        GRAFT_LEGACY="tests.deploy.site.legacy:app",
        GRAFT_NATIVE="tests.deploy.site.native",
        LOG_LEVEL="warning",
    )
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=PROJECT, env=env, input=json.dumps(events * 2), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for first, second in zip(said[: len(names)], said[len(names) :], strict=True):
        assert first["statusCode"] == second["statusCode"]
    return dict(zip(names, said, strict=False))


def test_an_http_api_reaches_a_native_route_with_query_and_cookies(answers: dict[str, dict[str, Any]]) -> None:
    answer = answers["http-api"]
    saw = json.loads(answer["body"])
    assert (answer["statusCode"], answer["headers"]["x-served-by"]) == (200, "native")
    assert saw["url"] == "https://r3pmxmplak.execute-api.us-east-2.amazonaws.com/native?a=1&a=2&b=%C3%A9"
    assert saw["client"] == "205.255.255.176"
    assert saw["headers"]["cookie"] == "session=abc; other=1"


def test_a_rest_api_brings_a_binary_body_to_flask(answers: dict[str, dict[str, Any]]) -> None:
    answer = answers["rest-api"]
    sent = base64.b64decode("AAECA/////4=")
    assert json.loads(answer["body"]) == {"size": 8, "sha256": hashlib.sha256(sent).hexdigest()}
    assert answer["headers"]["x-served-by"] == "legacy"


def test_a_load_balancer_reaches_flask(answers: dict[str, dict[str, Any]]) -> None:
    answer = answers["load-balancer"]
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["url"].endswith("/legacy?query=1234ABCD")
    assert json.loads(answer["body"])["client"] == "72.12.164.125"


def test_the_handler_says_which_version_it_was_tried_with() -> None:
    text = (DEPLOY / "serverless" / "aws_lambda.py").read_text()
    assert "mangum==" in text
