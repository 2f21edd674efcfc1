"""A service in this process, for tests of code that uses the client.

    fake = FakeService()
    client = Client(key=fake.key, transport=fake.transport())

It answers as the real one does, and learns one thing only: how often each class came. Samples are applied at once.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import httpx
import msgpack
import numpy as np

from amstream_client.payload import SNAPSHOT_FILE
from amstream_client.wire import (
    Accepted,
    ClassFigures,
    DeadLetter,
    Drifts,
    Label,
    Metrics,
    Model,
    Prediction,
    Predictions,
    Restored,
    Retention,
    Snapshot,
    Spec,
)

CREATED_AT = "2025-01-01T00:00:00Z"
DEFAULTS: dict[str, Any] = {"task": "classification", "hidden": [100, 100], "learner": "am-mem", "seed": 0}
LABEL_TYPES = {str: "string", int: "integer", bool: "boolean"}


@dataclass
class FakeModel:
    spec: Spec
    version: int = 0
    x: list[list[float]] = field(default_factory=list)  # NaN = missing
    y: list[Label] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    time: list[float | None] = field(default_factory=list)  # as they were sent; None = not known
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    snapshots: dict[str, tuple[Snapshot, int]] = field(default_factory=dict)  # with the samples learned by then
    dead_letters: list[DeadLetter] = field(default_factory=list)
    accepted: dict[str, tuple[str, Accepted]] = field(default_factory=dict)  # by Idempotency-Key: digest, answer

    @property
    def applied_entry(self) -> str | None:
        return f"{self.version}-0" if self.version else None


class FakeService:
    def __init__(self, key: str = "amk_fake") -> None:
        self.key = key
        self.models: dict[str, FakeModel] = {}
        self.requests: list[httpx.Request] = []
        self._answers: dict[str, httpx.Response] = {}

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """A command that comes again under its key is answered as the first time."""
        self.requests.append(request)
        request = _decompressed(request)
        key = request.headers.get("Idempotency-Key", "")
        if key not in self._answers:
            answer = self._carry_out(request)
            if not key or answer.is_error or request.url.path.endswith(("/samples", "/predictions")):
                return answer
            self._answers[key] = answer
        first = self._answers[key]
        return httpx.Response(first.status_code, headers=first.headers, content=first.content)

    def _carry_out(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.strip("/").split("/")
        if parts == ["readyz"]:
            return httpx.Response(200, json={"status": "ready"})
        if parts == ["openapi.json"]:
            return httpx.Response(200, json={"info": {"title": "amstream", "version": "0.1.0"}})
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return problem(401, "unauthenticated", "the API key is missing or unknown")
        match request.method, parts[1:]:
            case "GET", ["models"]:
                return httpx.Response(200, json={"models": [resource(n, m) for n, m in self.models.items()]})
            case "PUT", ["models", name]:
                return self._create(name, json.loads(request.content))
        name = parts[2]
        if name not in self.models:
            return problem(404, "unknown-model", f"there is no model '{name}'")
        model = self.models[name]
        match request.method, parts[3:]:
            case "GET", []:
                return httpx.Response(200, json=resource(name, model))
            case "DELETE", []:
                del self.models[name]
                return httpx.Response(204)
            case "POST", ["samples"]:
                return _learn(model, request)
            case "POST", ["predictions"]:
                return _predict(model, _decode(request)["x"])
            case "GET", ["predictions"]:
                return _predict_one(model, request.url.params["x"])
            case "GET", ["hyperparameters"]:
                return httpx.Response(200, json=model.hyperparameters)
            case "PATCH", ["hyperparameters"]:
                model.hyperparameters |= json.loads(request.content)
                model.version += 1
                return httpx.Response(200, json=model.hyperparameters)
            case "GET", ["metrics"]:
                return httpx.Response(200, json=asdict(_metrics(model)))
            case "GET", ["events"]:
                return _events(model, request.headers.get("Last-Event-ID"))
            case "GET", ["dead-letters"]:
                return httpx.Response(200, json={"dead_letters": [asdict(letter) for letter in model.dead_letters]})
            case "DELETE", ["dead-letters"]:
                entries = [letter.entry for letter in model.dead_letters]
                del model.dead_letters[: entries.index(request.url.params["until"]) + 1]
                return httpx.Response(204)
            case "POST", ["snapshots"]:
                return _create_snapshot(model, json.loads(request.content)["name"])
            case "GET", ["snapshots"]:
                return httpx.Response(200, json={"snapshots": [asdict(s) for s, _ in model.snapshots.values()]})
            case "GET", ["snapshots", snapshot] if snapshot in model.snapshots:
                return httpx.Response(200, json=asdict(model.snapshots[snapshot][0]))
            case "DELETE", ["snapshots", snapshot] if snapshot in model.snapshots:
                del model.snapshots[snapshot]
                return httpx.Response(204)
            case "GET", ["snapshots", snapshot, "content"] if snapshot in model.snapshots:
                return _export(*model.snapshots[snapshot])
            case "POST", ["snapshots", "import"]:
                return _import(model, request.url.params["name"], request.content)
            case "POST", ["restore"] if (snapshot := json.loads(request.content)["snapshot"]) in model.snapshots:
                return _restore(model, snapshot, request.headers.get("If-Match"))
        return problem(404, "unknown-snapshot", "there is no such snapshot")

    def _create(self, name: str, spec: Spec) -> httpx.Response:
        wrong = [{"field": f, "value": None, "message": "is required"} for f in ("inputs", "classes") if f not in spec]
        if wrong:
            return problem(422, "invalid", "the spec is invalid", wrong)
        complete: Any = DEFAULTS | {"label_type": LABEL_TYPES[type(spec["classes"][0])]} | spec
        if name in self.models and self.models[name].spec != complete:
            return problem(409, "conflict", f"the model '{name}' exists with another spec")
        status = 200 if name in self.models else 201
        hyperparameters = dict(complete.get("hyperparameters", {}))
        model = self.models.setdefault(name, FakeModel(complete, hyperparameters=hyperparameters))
        return httpx.Response(status, json=resource(name, model))


def _decompressed(request: httpx.Request) -> httpx.Request:
    if request.headers.get("Content-Encoding") != "gzip":
        return request
    headers = [
        (name, value) for name, value in request.headers.items() if name not in ("content-encoding", "content-length")
    ]
    return httpx.Request(request.method, request.url, headers=headers, content=gzip.decompress(request.content))


def resource(name: str, model: FakeModel) -> dict[str, Any]:
    learned, letters = len(model.y), len(model.dead_letters)
    standing = model.version, model.applied_entry, learned, 0, "learning", letters
    return asdict(Model(name, f"id-{name}", model.spec, CREATED_AT, *standing))


def problem(status: int, kind: str, detail: str, errors: list[dict[str, Any]] | None = None) -> httpx.Response:
    body = {"type": f"urn:amstream:problem:{kind}", "title": kind, "status": status, "detail": detail}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, headers=headers, content=json.dumps(body | ({"errors": errors} if errors else {})))


def _learn(model: FakeModel, request: httpx.Request) -> httpx.Response:
    key, digest = request.headers["Idempotency-Key"], hashlib.sha256(request.content).hexdigest()
    if key in model.accepted:
        seen, accepted = model.accepted[key]
        if seen != digest:
            return problem(422, "idempotency-key", "the Idempotency-Key was used for other samples")
        return httpx.Response(202, json=asdict(replace(accepted, repeated=True)))
    body = _decode(request)
    if "samples" in body:
        samples = body["samples"]
        x = [[math.nan if value is None else value for value in sample["x"]] for sample in samples]
        y, weight = [sample["y"] for sample in samples], [sample.get("weight", 1.0) for sample in samples]
        time = [sample.get("time") for sample in samples]
    else:
        x, y = body["x"], body["y"]
        weight, time = body.get("weight", [1.0] * len(y)), body.get("time", [None] * len(y))
    wrong = _wrong_widths(model, x) + [
        {"field": f"samples.{i}.y", "value": label, "message": "is not one of the classes"}
        for i, label in enumerate(y)
        if label not in model.spec["classes"]
    ]
    if wrong:
        return problem(422, "invalid", "the samples are invalid", wrong)
    model.x += x
    model.y += y
    model.weight += weight
    model.time += [None if each is None or math.isnan(each) else each for each in time]
    model.version += 1
    model.accepted[key] = digest, Accepted([f"{model.version}-0"], len(y))
    return httpx.Response(202, json=asdict(model.accepted[key][1]))


def _predict(model: FakeModel, x: list[list[float]]) -> httpx.Response:
    if wrong := _wrong_widths(model, x):
        return problem(422, "invalid", "the inputs are invalid", wrong)
    classes = model.spec["classes"]
    shares = [(1 + model.y.count(label)) / (len(classes) + len(model.y)) for label in classes]
    label = classes[shares.index(max(shares))]
    answer = Predictions([label] * len(x), [shares] * len(x), classes, model.version, model.applied_entry)
    return httpx.Response(200, json=asdict(answer))


def _predict_one(model: FakeModel, x: str) -> httpx.Response:
    answer = _predict(model, [[float(value) if value else math.nan for value in x.split(",")]])
    if answer.is_success:
        batch = Predictions(**answer.json())
        one = Prediction(
            batch.labels[0], batch.probabilities[0], batch.classes, batch.model_version, batch.applied_entry
        )
        return httpx.Response(200, json=asdict(one))
    return answer


def _metrics(model: FakeModel) -> Metrics:
    """It predicts nothing before it learns: all figures are missing."""
    figures: dict[str, float | None] = dict.fromkeys(("accuracy", "kappa", "log_loss", "no_change", "majority"))
    classes = [ClassFigures(label, model.y.count(label), None, None) for label in model.spec["classes"]]
    retention = Retention(None, None, None, 1000, [])
    learned = len(model.y)
    return Metrics(
        model.version, model.applied_entry, learned, 1000.0, figures, figures, Drifts(0, None), classes, retention, []
    )


def _events(model: FakeModel, last_event_id: str | None) -> httpx.Response:
    """Those that there are after one; then the stream ends."""
    first = model.version if last_event_id is None else int(last_event_id.partition("-")[0])
    text = "".join(
        f"event: learned\ndata: {json.dumps({'entry': f'{n}-0', 'model_version': n})}\nid: {n}-0\n\n"
        for n in range(first + 1, model.version + 1)
    )
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return httpx.Response(200, headers=headers, content=": listening\n\n" + text)


def _create_snapshot(model: FakeModel, name: str) -> httpx.Response:
    if name in model.snapshots:
        return problem(409, "conflict", f"the snapshot '{name}' exists")
    snapshot = Snapshot(name, model.applied_entry, model.version, len(model.y), CREATED_AT, 1024, "sha256:00")
    model.snapshots[name] = snapshot, len(model.y)
    return httpx.Response(201, json=asdict(snapshot))


def _export(snapshot: Snapshot, samples: int) -> httpx.Response:
    """Of a form of its own: only `_import` reads it."""
    headers = {"Content-Type": SNAPSHOT_FILE, "ETag": f'"{snapshot.digest}"'}
    return httpx.Response(200, headers=headers, content=json.dumps([asdict(snapshot), samples]))


def _import(model: FakeModel, name: str, content: bytes) -> httpx.Response:
    try:
        exported, samples = json.loads(content)
    except ValueError:
        wrong = {"field": "body", "value": f"{len(content)} bytes", "message": "must be a snapshot file"}
        return problem(422, "invalid", "the file is invalid", [wrong])
    snapshot = Snapshot(**exported | {"name": name}), samples
    if model.snapshots.setdefault(name, snapshot) != snapshot:
        return problem(409, "conflict", f"the snapshot '{name}' exists")
    return httpx.Response(201, json=asdict(model.snapshots[name][0]))


def _restore(model: FakeModel, name: str, if_match: str | None) -> httpx.Response:
    snapshot, samples = model.snapshots[name]
    if if_match not in (None, f'"{snapshot.digest}"'):
        wrong = {"field": "If-Match", "value": if_match, "message": "must be the digest of the snapshot"}
        return problem(412, "precondition-failed", "the snapshot has another digest", [wrong])
    del model.x[samples:], model.y[samples:], model.weight[samples:], model.time[samples:]
    model.version += 1
    return httpx.Response(200, json=asdict(Restored(name, model.applied_entry, model.version)))


def _decode(request: httpx.Request) -> dict[str, Any]:
    """The body with x as a list of rows, whichever format it came in."""
    if request.headers["Content-Type"] == "application/json":
        json_body: dict[str, Any] = json.loads(request.content)
        return json_body
    if request.headers["Content-Type"] == "application/x-npz":
        with np.load(io.BytesIO(request.content), allow_pickle=False) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    body: dict[str, Any] = msgpack.unpackb(request.content)
    rows = np.frombuffer(body["x"], dtype="<f4").reshape(body["n"], -1)
    return body | {"x": rows.tolist()}


def _wrong_widths(model: FakeModel, x: list[list[float]]) -> list[dict[str, Any]]:
    inputs = model.spec["inputs"]
    return [
        {"field": f"samples.{i}.x", "value": len(row), "message": f"must have {inputs} values"}
        for i, row in enumerate(x)
        if len(row) != inputs
    ]
