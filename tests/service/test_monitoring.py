"""Alert rules, dashboard and compose file of monitoring: they ask for what the service tells, and agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from service.settings import Settings
from tests.service.api import GOOD, learned

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.monitoring.yml"
ADDED = {"up": {"job", "instance"}}
"""What Prometheus adds to every process that it asks, with its labels."""


def parsed(path: Path) -> Any:
    return YAML(typ="safe").load(path)


RULES = [rule for group in parsed(ROOT / "monitoring" / "alerts.yml")["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "monitoring" / "grafana" / "amstream.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def nodes(node: Any) -> Iterator[Any]:
    """Of the tree of an expression."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (part := getattr(node, name, None)) is not None:
            yield from nodes(part)
    for part in getattr(node, "args", ()):
        yield from nodes(part)


def selected(expression: str) -> dict[str, set[str]]:
    """Metric → labels that the expression has of it."""
    found: dict[str, set[str]] = {}
    for node in nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            found.setdefault(str(node.name), set()).update(matcher.name for matcher in node.matchers.matchers)
    return found


def grouped(expression: str) -> set[str]:
    """Labels by which it aggregates."""
    modifiers: list[Any] = [getattr(node, "modifier", None) for node in nodes(promql_parser.parse(expression))]
    return {label for modifier in modifiers if hasattr(modifier, "labels") for label in modifier.labels}


def test_every_expression_asks_for_metrics_and_labels_that_exist(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 8)
    http.get("/v1/models/never")
    http.post(f"{model}/snapshots", json={"name": "s"})
    told: dict[str, set[str]] = dict(ADDED)
    for family in text_string_to_metric_families(http.get("/metrics").text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        told |= {family.name + suffix: set() for suffix in suffixes}
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    for expression in [*(rule["expr"] for rule in RULES), *QUERIES]:
        asked = selected(expression)
        assert asked, expression
        assert asked.keys() <= told.keys(), expression
        empty = {name for name in asked if not told[name]}  # of regression, say: no model here has any
        for name, labels in asked.items():
            assert name in empty or labels <= told[name] | {"job", "instance"}, (expression, name)
        if len(empty) < len(asked):
            assert grouped(expression) <= set().union(*(told[name] for name in asked)), expression


def test_the_check_of_expressions_finds_what_they_ask_for() -> None:
    text = 'sum by (le) (rate(a_bucket{x="1"}[5m])) > 1 and max by (model) (b) - b{y!="2"}'
    assert selected(text) == {"a_bucket": {"x"}, "b": {"y"}}
    assert grouped(text) == {"le", "model"}


def test_every_rule_says_what_is_wrong_and_how_bad() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 10
    for rule in RULES:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
        shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert shown <= grouped(rule["expr"]) | ({"instance"} if not grouped(rule["expr"]) else set()), rule["alert"]
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))


def test_the_dashboard_reads_from_the_provisioned_source_and_overlaps_nowhere() -> None:
    [source] = parsed(ROOT / "monitoring" / "grafana" / "datasources.yml")["datasources"]
    [provider] = parsed(ROOT / "monitoring" / "grafana" / "dashboards.yml")["providers"]
    sources = {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in DASHBOARD["panels"]}
    assert sources == {(source["type"], source["uid"])}
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    mounts = parsed(COMPOSE)["services"]["grafana"]["volumes"]
    assert any(f":{provider['options']['path']}/amstream.json" in mount for mount in mounts)


def test_the_compose_file_follows_the_specification_and_mounts_what_exists() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    services = parsed(COMPOSE)["services"]
    own = parsed(ROOT / "docker-compose.yml")
    assert services.keys() - {"prometheus", "grafana"} <= own["services"].keys()
    for name in ("prometheus", "grafana"):
        assert set(services[name]["networks"]) <= own["networks"].keys()
        mounted = [volume.split(":")[0] for volume in services[name]["volumes"] if volume.startswith("./")]
        assert mounted
        assert all((ROOT / path).is_file() for path in mounted)
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["cap_drop"] == ["ALL"]


def test_only_the_dashboard_is_published_and_by_default_on_loopback() -> None:
    services = parsed(COMPOSE)["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"grafana": ["${GRAFANA_PUBLISH:-127.0.0.1:3000}:3000"]}


def test_prometheus_asks_every_process_of_the_service_with_the_token_that_opens_it() -> None:
    written, config = parsed(COMPOSE), parsed(ROOT / "monitoring" / "prometheus.yml")
    [job] = config["scrape_configs"]
    [found] = job["dns_sd_configs"]
    ours = [name for name, service in written["services"].items() if "AMSTREAM_METRICS_TOKEN" in str(service)]
    assert sorted(found["names"]) == sorted(ours) == ["api", "learner", "learner-gpu"]
    assert found["port"] == Settings.model_fields["port"].default
    [secret] = written["services"]["prometheus"]["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    variable = written["secrets"][secret]["environment"]
    for name in ours:
        token = written["services"][name]["environment"]["AMSTREAM_METRICS_TOKEN"]
        assert token.startswith("${" + variable + ":?")
    assert "metrics_token" in Settings.model_fields
    mounts = written["services"]["prometheus"]["volumes"]
    assert all(any(f":{path}:ro" in mount for mount in mounts) for path in config["rule_files"])
