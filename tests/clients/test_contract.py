"""The client against the real service: every call, and every shape that it expects, as the served OpenAPI has them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from amstream_client import Client, Conflict, Invalid, UnknownModel, UnknownPrediction, UnknownSnapshot, WrongTask, wire
from amstream_client.cli import models, register
from tests.server import Server

SPEC: wire.Spec = {"inputs": 2, "hidden": [8], "classes": ["a", "b"], "block": {"size": 4}, "seed": 1}
DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
# Spoken by others: Open Inference clients, Prometheus, whoever watches processes.
BY_HAND = re.compile(r"/(v2|metrics|livez|readyz|openapi\.json)\b")

SCHEMAS = {
    "Accepted": wire.Accepted,
    "ClassFigures": wire.ClassFigures,
    "CreatedKey": wire.CreatedKey,
    "Drifts": wire.Drifts,
    "KeyResource": wire.Key,
    "LabelResource": wire.Labelled,
    "MetricsResource": wire.Metrics,
    "ModelDetail": wire.Model,
    "PredictionResource": wire.Prediction,
    "PredictionsResource": wire.Predictions,
    "Promoted": wire.Promoted,
    "DeadLetterResource": wire.DeadLetter,
    "Restored": wire.Restored,
    "RetentionFigures": wire.Retention,
    "OutcomeResource": wire.Outcome,
    "ShadowFigures": wire.ShadowFigures,
    "TrackedResource": wire.Tracked,
    "ValuesResource": wire.Values,
    "SnapshotResource": wire.Snapshot,
}


class Recording(httpx.HTTPTransport):
    """The network, with the calls that went over it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.add((request.method, request.url.path))
        return super().handle_request(request)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("contract") / "data", environment={"AMSTREAM_CHECKPOINT_S": "0.2"}) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
    return found


@pytest.fixture
def transport() -> Iterator[Recording]:
    with Recording() as transport:
        yield transport


@pytest.fixture
def client(server: Server, transport: Recording) -> Iterator[Client]:
    with Client(server.url, server.admin_key, transport=transport) as client:
        yield client


def operations(described: dict[str, Any]) -> set[str]:
    return {
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
        if not BY_HAND.match(path)
    }


def called(transport: Recording, described: dict[str, Any]) -> set[str]:
    """Those operations that the recorded calls are; the most literal path first, as routes are matched."""
    forms = sorted(operations(described), key=lambda operation: operation.count("{"))
    patterns = {form: re.compile(re.sub(r"\{\w+\}", "[^/]+", form)) for form in forms}
    calls = {f"{method} {path}" for method, path in transport.calls if not BY_HAND.match(path)}
    return {next((form for form, pattern in patterns.items() if pattern.fullmatch(call)), call) for call in calls}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_the_client_expects_of_an_answer_is_what_the_service_describes(
    described: dict[str, Any], schema: str
) -> None:
    """What has a default may be missing: the client knew it before the service said it."""
    known = described["components"]["schemas"][schema]["properties"]
    assert {field.name for field in fields(SCHEMAS[schema])} <= known.keys()


@pytest.mark.long  # so that the service may say more before the client listens
@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_client_knows_all_that_an_answer_says(described: dict[str, Any], schema: str) -> None:
    known = described["components"]["schemas"][schema]["properties"]
    assert {field.name for field in fields(SCHEMAS[schema])} == known.keys()


@pytest.mark.long
def test_a_spec_has_the_fields_that_the_service_describes(described: dict[str, Any]) -> None:
    assert set(wire.Spec.__annotations__) == described["components"]["schemas"]["ModelSpec"]["properties"].keys()


@pytest.mark.long  # so that a route may land before its call
def test_every_operation_has_a_call(
    client: Client, transport: Recording, described: dict[str, Any], tmp_path: Path
) -> None:
    use_every_call(client, tmp_path)
    assert called(transport, described) == operations(described)


def test_every_call_is_understood_by_the_service(
    client: Client, transport: Recording, described: dict[str, Any], tmp_path: Path
) -> None:
    use_every_call(client, tmp_path)
    assert called(transport, described) <= operations(described)


def test_compressed_bodies_are_understood_by_the_service(server: Server) -> None:
    x = np.ones((1000, 2))
    with Client(server.url, server.admin_key, compress="gzip") as client:
        client.create_model("compressed", {"inputs": 2, "classes": ["a", "b"]})
        accepted = client.learn("compressed", x, ["a"] * 1000)
        assert client.predict("compressed", x, min_entry=accepted.entries[-1]).labels == ["a"] * 1000
        client.delete_model("compressed")


@pytest.fixture
def run(server: Server, transport: Recording) -> Callable[..., Any]:
    """What a command prints as JSON."""
    app = typer.Typer()
    register(app)
    environment = {"AMSTREAM_URL": server.url, "AMSTREAM_KEY": server.admin_key, "COLUMNS": "120", "TERM": "dumb"}

    def invoke(*words: object) -> Any:
        result = CliRunner().invoke(app, [*map(str, words), "--json"], obj=transport, env=environment)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()][-1]

    return invoke


@pytest.mark.long
def test_every_operation_has_a_command(
    run: Callable[..., Any], transport: Recording, described: dict[str, Any], tmp_path: Path
) -> None:
    use_every_command(run, tmp_path)
    assert called(transport, described) == operations(described)


def test_every_command_is_understood_by_the_service(
    run: Callable[..., Any], transport: Recording, described: dict[str, Any], tmp_path: Path
) -> None:
    use_every_command(run, tmp_path)
    assert called(transport, described) <= operations(described)


def test_the_challenger_of_the_document_is_made(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = DOCUMENT.read_text().split("## Models\n")[1].split("## ")[0]
    lines = re.findall(r"^    amstream (.*)$", block, re.MULTILINE)
    made = []
    for line in lines:
        command, _, file = line.partition(" > ")
        made.append(run(*shlex.split(command)))
        if file:
            (tmp_path / file).write_text(json.dumps(made[-1]))
    challenger = made[-1]["spec"]
    assert (challenger["shadow_of"], challenger["hyperparameters"]["horizons"]) == ("iris", [8, 64])
    for name in ("iris-fast", "iris"):
        run("models", "delete", name, "--yes")
    assert all(f"    amstream {line}\n" in str(models.create.__doc__) for line in lines[-2:])


def test_a_key_that_may_learn_alone_waits_until_all_is_learned(
    run: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    client.create_model("learn-alone", SPEC)
    key = client.create_key("learn-alone", ["learn"], models=["learn-alone"]).key
    np.savez(tmp_path / "data.npz", x=np.ones((512, 2)), y=["a"] * 512, time=np.full(512, 1795770000.0))
    learned = run("learn", "learn-alone", tmp_path / "data.npz", "--batch", 16, "--wait", "--key", key)
    assert (learned["learned"], client.model("learn-alone").samples_learned) == (True, 512)
    assert len(learned["entries"]) >= 32
    assert str(client.metrics("learn-alone").newest_time).startswith("2026-11-27T09:00:00")
    client.delete_model("learn-alone")


def use_every_command(run: Callable[..., Any], tmp_path: Path) -> None:
    model = f"commands-{tmp_path.name}"[:63]
    shadow = f"shadow-{model}"[:63]
    x = np.random.default_rng(0).normal(size=(16, 2))
    np.savez(tmp_path / "data.npz", x=x, y=np.where(x[:, 0] > 0, "a", "b"))
    assert run("models", "create", model, "--inputs", 2, "--classes", "a,b", "--block-size", 4)["name"] == model
    assert run("models", "create", shadow, "--inputs", 2, "--classes", "a,b", "--shadow-of", model)["name"] == shadow
    assert {model, shadow} <= {each["name"] for each in run("models", "list")}
    learned = run("learn", model, tmp_path / "data.npz", "--wait")
    assert learned["accepted"] == 16
    assert run("predict", model, tmp_path / "data.npz")["samples"] == 16
    assert run("predict", model, "--x", "1,")["label"] in ("a", "b")
    evaluated = run("evaluate", model, tmp_path / "data.npz", "--pass", 2)
    assert (evaluated["samples"], evaluated["batch"]) == (16, 4)
    assert run("metrics", model)["samples_learned"] == 32
    assert run("models", "show", model)["samples_learned"] == 32
    assert run("hyperparameters", "set", model, "ridge=0.5")["ridge"] == 0.5
    assert run("hyperparameters", "show", model)["ridge"] == 0.5

    assert run("dead-letters", model, "--delete-until", "1-1") == []

    digest = run("snapshots", "create", model, "s")["digest"]
    assert [each["name"] for each in run("snapshots", "list", model)] == ["s"]
    assert run("snapshots", "show", model, "s")["digest"] == digest
    file = run("snapshots", "export", model, "s", tmp_path / "file")["file"]
    assert run("snapshots", "import", model, file, "--name", "again")["name"] == "again"
    assert run("restore", model, "s", "--if-match", digest)["snapshot"] == "s"
    assert run("restore", model, "--skip", learned["last_entry"])["entry"]
    assert run("snapshots", "delete", model, "again", "--yes") == {"model": model, "deleted": "again"}
    assert run("events", model, "--after", "0-0", "--kind", "adopted", "--count", 1)["kind"] == "adopted"
    assert run("watch", model, "--count", 2, "--every", 0.1)["model"] == model
    assert run("models", "promote", shadow)["model"] == model

    use_tracked_commands(run, model, tmp_path)
    use_regression_commands(run, f"values-{model}"[:63], tmp_path)

    created = run("keys", "create", f"key-{model}"[:63], "--scope", "predict", "--model", model)
    assert created["id"] in {key["id"] for key in run("keys", "list")}
    assert run("keys", "revoke", created["name"]) == {"revoked": created["id"], "name": created["name"]}
    assert {finding["state"] for finding in run("doctor")} == {"good"}
    for each in (shadow, model):
        assert run("models", "delete", each, "--yes") == {"deleted": each}


def use_tracked_commands(run: Callable[..., Any], model: str, tmp_path: Path) -> None:
    first = run("predict", model, "--x", "1,2", "--track")["id"]
    second, third = (row["id"] for row in run("predict", model, tmp_path / "data.npz", "--track")["predictions"][:2])
    assert run("tracked", "label", model, first, "a")["repeated"] is False
    assert run("tracked", "label", model, first, "b", "--correct")["corrected"] is True
    (tmp_path / "labels.csv").write_text(f"id,label\n{second},a\n{third},b\n{first},b\n")
    labelled = run("tracked", "labels", model, tmp_path / "labels.csv", "--batch", 2)
    assert [(one["id"], one["repeated"]) for one in labelled] == [(second, False), (third, False), (first, True)]
    assert run("tracked", "show", model, third)["outcome"]["label"] == "b"


def use_regression_commands(run: Callable[..., Any], model: str, tmp_path: Path) -> None:
    words = "--task regression --features age,size --hidden 8 --block-size 4"
    assert run("models", "create", model, *words.split())["spec"]["targets"] == 1
    rows = "".join(f"{number / 2},{number},\n" for number in range(12))
    (tmp_path / "data.csv").write_text("price,size,age\n" + rows)
    evaluated = run("evaluate", model, tmp_path / "data.csv")
    assert evaluated["samples"] == 12
    assert evaluated["no_change"] > 0
    assert run("learn", model, tmp_path / "data.csv", "--label", "price", "--wait")["accepted"] == 12
    predicted = run("predict", model, tmp_path / "data.csv", "--label", "price")
    assert (predicted["samples"], predicted["predictions"][3]["actual"]) == (12, 1.5)
    assert predicted["mae"] > 0
    assert isinstance(run("predict", model, "--x", "1,2")["value"], float)
    assert run("metrics", model)["overall"]["mae"] > 0
    assert run("models", "delete", model, "--yes") == {"deleted": model}


def use_every_call(client: Client, tmp_path: Path) -> None:
    assert client.ready()
    model = f"contract-{tmp_path.name}"[:63]
    created = client.create_model(model, SPEC)
    assert created.id == client.create_model(model, SPEC).id
    assert created.id in {each.id for each in client.models()}
    x = np.random.default_rng(0).normal(size=(16, 2))
    times = [datetime(2026, 11, 27, 12, tzinfo=UTC), None] * 8
    accepted = client.learn(model, x, ["a" if row[0] > 0 else "b" for row in x], time=times)
    predicted = client.predict(model, x, min_entry=accepted.entries[-1])
    one = client.predict_one(model, x[0])
    assert (len(predicted.labels), one.classes) == (16, ["a", "b"])
    assert (client.model(model).samples_learned, client.metrics(model).samples_learned) == (16, 16)

    assert str(client.metrics(model).newest_time).startswith("2026-11-27T12:00:00")

    client.delete_dead_letters(model, "1-1")
    assert client.dead_letters(model) == []
    before = client.hyperparameters(model)
    assert client.set_hyperparameters(model, {"ridge": 0.5}) == before | {"ridge": 0.5}
    with pytest.raises(Invalid, match="ridge"):
        client.set_hyperparameters(model, {"ridge": "fast"})

    snapshot = client.create_snapshot(model, "s")
    assert client.snapshots(model) == [snapshot] == [client.snapshot(model, "s")]
    client.export_snapshot(model, "s", tmp_path / "file")
    client.import_snapshot(model, "again", tmp_path / "file")
    assert client.restore(model, "s", if_match=snapshot.digest).snapshot == "s"
    skipped = client.restore(model, skip=[accepted.entries[0]])
    assert client.snapshot(model, skipped.snapshot).samples_learned == 12
    client.restore(model, at=accepted.entries[0])
    client.delete_snapshot(model, "again")
    with pytest.raises(UnknownSnapshot):
        client.snapshot(model, "again")

    events = client.events(model, after="0-0")
    adopted = next(event for event in events if event.kind == "adopted")
    assert adopted.id is not None
    events.close()

    use_tracking(client, model, x)
    use_regression_by_name(client, f"values-{model}"[:63])

    shadow = f"shadow-{model}"[:63]
    client.create_model(shadow, {**SPEC, "shadow_of": model, "seed": 2})
    accepted = client.learn(model, x, ["a"] * 16)
    client.predict(shadow, x, min_entry=accepted.entries[-1])
    assert [one.name for one in client.metrics(model).shadows] == [shadow]
    assert client.promote(shadow).model == model
    client.delete_model(shadow)

    client.delete_model(model)
    with pytest.raises(UnknownModel):
        client.model(model)

    created_key = client.create_key(f"key-{model}"[:63], ["predict"], models=["iris"], expires_in_s=60)
    assert created_key.key.startswith("amk_")
    assert created_key.key not in repr(created_key)
    client.revoke_key(created_key.id)
    in_force, all_keys = client.keys(), client.keys(revoked=True)
    assert created_key.id not in {key.id for key in in_force}
    assert created_key.id in {key.id for key in all_keys}


def use_tracking(client: Client, model: str, x: NDArray[np.float64]) -> None:
    ids = client.predict(model, x[:3], track=True).ids
    assert ids is not None
    first, second, third = ids
    assert client.label(model, first, "a").repeated is False
    assert client.label(model, first, "a").repeated is True
    with pytest.raises(Conflict):
        client.label(model, first, "b")
    assert client.label(model, first, "b", correct=True).corrected is True
    assert [one.id for one in client.label_many(model, {third: "a", second: "b"}, weight=0.5)] == [third, second]
    seen = client.tracked(model, first)
    assert seen.outcome is not None
    assert (seen.outcome.label, seen.classes) == ("b", ["a", "b"])
    assert seen.x == pytest.approx(x[0].tolist(), rel=1e-6)
    with pytest.raises(UnknownPrediction):
        client.tracked(model, "none")


def use_regression_by_name(client: Client, model: str) -> None:
    client.create_model(model, {"task": "regression", "features": ["age", "size"], "hidden": [8], "block": {"size": 4}})
    with client.producer(model, batch=8) as producer:
        for number in range(16):
            producer.send({"age": number, "size": None}, number / 2)
    values = client.predict_values(model, [{"size": 1, "age": 2}], min_entry=producer.last_entry).values
    assert isinstance(values[0], float)
    with pytest.raises(WrongTask):
        client.predict(model, [[1, 2]])
    assert client.metrics(model).overall.keys() >= {"mae", "rmse", "r2"}
    client.delete_model(model)
