"""What the gateway tells, and what the dashboard and the alerts ask for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.running import DEPLOY, Site, site
from tests.parts import free_port, program, wait_until

MONITORING = DEPLOY / "monitoring"
TOKEN = "a-token-for-the-metrics"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("monitored")
    with site(folder, f"127.0.0.1:{free_port()}", GRAFT_ADMIN_TOKEN=TOKEN) as process:
        yield process


def exposition(gateway: Site) -> str:
    with gateway.client() as client:
        answer = client.get("/_graft/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return answer.text


ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}


def exposed() -> set[str]:
    """The names of all samples that a gateway can have, whether there are any yet or not."""
    import gateway as _  # noqa: F401  whatever it wires together has registered its metrics now
    from graft.figures.prometheus import REGISTRY

    names = set()
    for family in REGISTRY.collect():
        endings = ENDINGS.get(family.type, ("",))
        names |= {family.name + ending for ending in endings}
    return names


def expressions() -> list[tuple[str, str]]:
    """Every PromQL expression of the dashboard and the alerts, with where it stands."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    found += [(var["name"], var["definition"]) for var in dashboard["templating"]["list"] if "definition" in var]
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        found += [(rule["alert"], rule["expr"]) for rule in group["rules"]]
    return found


def test_every_metric_that_is_asked_for_is_one_that_the_gateway_has() -> None:
    asked = {name for _, expression in expressions() for name in re.findall(r"\bgraft_\w+", expression)}
    assert asked - exposed() == set()


def test_every_metric_of_the_gateway_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = {name for _, expression in expressions() for name in re.findall(r"\bgraft_\w+", expression)}
    families = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in exposed()}
    assert families - {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in asked} == set()


def test_every_label_that_is_asked_for_is_one_of_that_metric() -> None:
    import gateway as _  # noqa: F401  whatever order the tests run in
    from graft.figures import route_metrics
    from graft.figures.prometheus import REGISTRY

    kept = [collector for collector in REGISTRY._collector_to_names if hasattr(collector, "_labelnames")]
    labels = {collector._name: set(collector._labelnames) for collector in kept}
    labels |= {name: set(of_routes) for name, of_routes in route_metrics.LABELS.items()}
    for where, expression in expressions():
        for name, inside in re.findall(r"\b(graft_\w+)\{([^}]*)\}", expression):
            family = re.sub(r"_(bucket|count|sum|total)$", "", name)
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) - {"job", "instance"}
            assert asked <= labels[family], where


def promtool(*words: str, given: str | None = None) -> str:
    command = [program("promtool", "apt install prometheus"), *words]
    checked = subprocess.run(command, input=given, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return checked.stdout + checked.stderr


def test_promtool_takes_the_alerts_and_the_scrape_configuration(tmp_path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(MONITORING / "alerts.yaml"))
    token = tmp_path / "graft-token"
    token.write_text(TOKEN)
    config = (MONITORING / "prometheus.yaml").read_text().replace("/etc/prometheus/graft-token", str(token))
    (tmp_path / "prometheus.yaml").write_text(config)
    (tmp_path / "alerts.yaml").write_text((MONITORING / "alerts.yaml").read_text())
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))


def test_differences_that_turned_out_to_be_noise_are_no_lost_parity(tmp_path: Path) -> None:
    """For ``graft routes`` they matched. Of the 300 of each route that were compared 40 differed; of /noisy's, all 40
    were withdrawn, of /wrong's 10, and nothing of /broken ever matched."""
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    [parity] = [panel["targets"][0]["expr"] for panel in dashboard["panels"] if panel["title"] == "Parity"]
    rules.append(
        {"name": "panel", "rules": [{"record": "parity", "expr": parity.replace("$job", ".*").replace("$route", ".*")}]}
    )
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rules}))
    counted = {
        ("/noisy", "matched"): 260, ("/noisy", "different"): 40, ("/noisy", "withdrawn"): 40,
        ("/wrong", "matched"): 260, ("/wrong", "different"): 40, ("/wrong", "withdrawn"): 10,
        ("/broken", "different"): 300, ("/broken", "withdrawn"): 0,
    }  # fmt: skip
    given = [
        {"series": f'graft_mirrored_total{{job="graft",route="{route}",result="{result}"}}', "values": f"0 {count}x60"}
        for (route, result), count in counted.items()
    ]
    expected = {"/wrong": 0.9, "/noisy": 1.0, "/broken": 0.0}
    alert = {"job": "graft", "severity": "ticket"}
    said = {"description": 'graft differences "{route}"', "summary": "The two sides of {route} answer differently"}
    checked = {
        "rule_files": ["rules.yaml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": given,
                "alert_rule_test": [
                    {
                        "eval_time": "30m",
                        "alertname": "GraftParityLost",
                        "exp_alerts": [
                            {
                                "exp_labels": {**alert, "route": route},
                                "exp_annotations": {name: text.format(route=route) for name, text in said.items()},
                            }
                            for route in ("/wrong", "/broken")
                        ],
                    }
                ],
                "promql_expr_test": [
                    {
                        "expr": f'round(parity{{route="{route}"}}, 0.001)',
                        "eval_time": "30m",
                        "exp_samples": [{"labels": f'{{route="{route}"}}', "value": value}],
                    }
                    for route, value in expected.items()
                ],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(checked))
    promtool("test", "rules", str(tmp_path / "tests.yaml"))


def test_promql_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    filled = [
        query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$route", ".*") for query in queries
    ]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_panels_of_the_dashboard_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24


def test_the_metrics_are_of_all_workers_and_pass_promtool_and_the_clients_parser(gateway: Site) -> None:
    with gateway.client() as client:
        for path in ("/native", "/legacy", "/nothing"):
            client.get(path)
    wait_until(lambda: sample(gateway, "graft_workers") == 2, 10, "both workers to be counted")
    text = exposition(gateway)
    assert sample(gateway, "graft_legacy_threads_limit", pool="legacy") == 32
    promtool("check", "metrics", given=text)


def sample(gateway: Site, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(exposition(gateway)):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                return float(found.value)
    return None


def answers(gateway: Site) -> float:
    """All that were counted, but for those of the control plane."""
    return sum(
        found.value
        for family in text_string_to_metric_families(exposition(gateway))
        for found in family.samples
        if found.name == "graft_requests_total" and "/_graft" not in found.labels["route"]
    )


def series(gateway: Site) -> set[tuple[str, Any]]:
    return {
        (found.name, tuple(sorted(found.labels.items())))
        for family in text_string_to_metric_families(exposition(gateway))
        for found in family.samples
    }


def test_nothing_that_a_client_makes_up_becomes_a_label(gateway: Site) -> None:
    def ask(start: int, stop: int) -> None:
        with gateway.client() as client:
            for number in range(start, stop):
                client.get(f"/nothing/{number}", headers={"Host": f"host{number}", "X-Request-ID": f"id{number}"})
                client.get(f"/sleep/0.0{number}")
                client.get(f"/native?{number}", headers={"User-Agent": f"agent{number}"})
                for path in ("/native", "/legacy", "/nothing", "/_graft/health"):
                    client.request(f"METHOD{number}", path)

    ask(0, 5)
    wait_until(lambda: sample(gateway, "graft_requests_total", route="GET /native", status="2xx"), 5, "the figures")
    ask(5, 10)
    wait_until(lambda: answers(gateway) >= 30, 5, "what each worker has counted")  # methods of their own are refused
    known = series(gateway)
    ask(10, 30)
    wait_until(lambda: answers(gateway) >= 90, 5, "what each worker has counted")
    new = {labels for name, labels in series(gateway) - known if name == "graft_requests_total"}
    assert {labels for labels in new if ("route", "ANY /_graft") not in labels} == set()


def test_without_the_token_there_are_no_metrics(gateway: Site) -> None:
    assert httpx.get(f"http://{gateway.bind}/_graft/metrics").status_code == 401
