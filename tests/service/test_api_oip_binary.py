"""The Open Inference Protocol's binary data, both ways, its other extensions, and compressed bodies."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.service.api import GOOD, learned
from tests.service.conftest import SPEC
from tests.service.oip import ROWS, V2, binary_tensor, infer, infer_binary, refused, tensor

X = np.array(ROWS, "<f4")
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def trained(http: TestClient, model: str) -> TestClient:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    return http


def whole(x: np.ndarray[Any, Any], datatype: str = "FP32") -> tuple[dict[str, Any], bytes]:
    data = x.tobytes()
    return binary_tensor(data, list(x.shape), datatype), data


def decoded(answer: Any) -> dict[str, Any]:
    """Outputs by name, of JSON and binary data."""
    head = int(answer.headers.get(LENGTH, len(answer.content)))
    start, found = head, {}
    for output in json.loads(answer.content[:head])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = output["data"]
            continue
        data = answer.content[start : start + size]
        start += size
        found[output["name"]] = texts(data) if output["datatype"] == "BYTES" else np.frombuffer(data, "<f8").tolist()
    assert start == len(answer.content)
    return found


def texts(data: bytes) -> list[str]:
    found = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end].decode())
        data = data[end:]
    return found


def outputs(http: TestClient) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in infer(http, tensor()).json()["outputs"]}


def test_the_server_names_its_extensions(http: TestClient) -> None:
    assert http.get("/v2").json()["extensions"] == ["binary_tensor_data", "classification"]


def test_binary_inputs_of_every_datatype_count_as_their_numbers(trained: TestClient) -> None:
    for datatype, dtype in {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "<i1", "INT64": "<i8"}.items():
        assert decoded(infer_binary(trained, whole(X.astype(dtype), datatype))) == outputs(trained)
    bits = infer(trained, tensor([1, 0, 1], [1, 3])).json()["outputs"]
    for datatype, dtype in {"BOOL": "?", "UINT8": "<u1", "UINT64": "<u8"}.items():
        assert infer_binary(trained, whole(np.array([[1, 0, 1]], dtype), datatype)).json()["outputs"] == bits


def test_outputs_come_as_binary_data_where_it_is_asked_for(trained: TestClient) -> None:
    known = outputs(trained)
    everything = infer_binary(trained, whole(X), parameters={"binary_data_output": True})
    assert everything.headers["content-type"] == "application/octet-stream"
    assert decoded(everything) == known
    one = infer(trained, tensor(), outputs=[{"name": "label", "parameters": {"binary_data": True}}])
    assert decoded(one) == {"label": known["label"]}
    mixed = [{"name": "probabilities", "parameters": {"binary_data": False}}, {"name": "label"}]
    answer = infer(trained, tensor(), outputs=mixed, parameters={"binary_data_output": True})
    assert decoded(answer) == known
    described = {one["name"]: one for one in json.loads(answer.content[: int(answer.headers[LENGTH])])["outputs"]}
    assert "data" in described["probabilities"]
    assert "data" not in described["label"]
    plain = infer_binary(trained, whole(X))
    assert LENGTH not in plain.headers
    assert plain.headers["content-type"] == "application/json"


def test_nan_is_a_missing_value_in_binary_data_alone(trained: TestClient) -> None:
    known = infer(trained, tensor([1, None, 3], [1, 3])).json()["outputs"]
    for datatype, dtype in {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}.items():
        assert infer_binary(trained, whole(np.array([[1, np.nan, 3]], dtype), datatype)).json()["outputs"] == known


def test_a_body_of_binary_data_alone_is_the_input(trained: TestClient) -> None:
    answer = trained.post(f"{V2}/infer", content=X.tobytes(), headers={LENGTH: "0"})
    assert decoded(answer) == outputs(trained)
    for content in (b"", X.tobytes()[:-1], X.tobytes()[:8]):
        answer = trained.post(f"{V2}/infer", content=content, headers={LENGTH: "0"})
        assert refused(answer, 400, "invalid") == [("body", f"{len(content)} bytes")]


def test_labels_that_are_not_ascii_survive(http: TestClient) -> None:
    assert http.put("/v1/models/texts", json=SPEC | {"classes": ["ä€", "日本"]}).status_code == 201
    answer = infer(http, tensor(), path="/v2/models/texts", parameters={"binary_data_output": True})
    assert set(decoded(answer)["label"]) <= {"ä€", "日本"}


def test_wrong_binary_data_is_named(trained: TestClient) -> None:
    described, data = whole(X)

    def sized(size: Any) -> dict[str, Any]:
        return described | {"parameters": {"binary_data_size": size}}

    size = "inputs.0.parameters.binary_data_size"
    for given, field, value in (
        ((sized(23), data), size, 23),
        ((sized("24"), data), size, "24"),
        ((sized(-24), data), size, -24),
        ((described, data[:-1]), size, 24),
        ((described, data + b"12345"), "body", "5 bytes"),
        ((described | {"data": ROWS}, data), "inputs.0.data", "2 values"),
        ((described | {"datatype": "FP64"}, data), size, 24),
        ((described | {"datatype": "BYTES"}, data), "inputs.0.datatype", "BYTES"),
        (whole(np.array([[1, np.inf, 3]], "<f4")), "inputs.0.data.1", "inf"),
        (whole(np.array([[1, 2, -(2**63)]], "<i8"), "INT64"), "inputs.0.data.2", -(2.0**63)),
    ):
        assert refused(infer_binary(trained, given), 400, "invalid") == [(field, value)]
    for length in ("-1", "x", "", "٣", "100000"):
        answer = trained.post(f"{V2}/infer", content=b"{}", headers={LENGTH.encode(): length.encode()})
        assert [field for field, _ in refused(answer, 400, "invalid")] == [LENGTH]
    many = np.zeros((101, 3), "<f4")
    assert refused(infer_binary(trained, whole(many)), 413, "too-large") == [("inputs.0.shape", 101)]


def test_wrong_parameters_are_named(trained: TestClient) -> None:
    memory = {"shared_memory_region": "a", "shared_memory_byte_size": 24}
    answer = infer(trained, tensor(None, parameters=memory))
    assert refused(answer, 400, "invalid") == [("inputs.0.parameters.shared_memory_region", "a")]
    for parameters, field in (
        ({"binary_data": 1}, "binary_data"),
        ({"classification": "1"}, "classification"),
        ({"classification": -1}, "classification"),
        (memory, "shared_memory_region"),
    ):
        answer = infer(trained, tensor(), outputs=[{"name": "probabilities", "parameters": parameters}])
        assert [named for named, _ in refused(answer, 400, "invalid")] == [f"outputs.0.parameters.{field}"]
    answer = infer(trained, tensor(), parameters={"binary_data_output": "yes"})
    assert refused(answer, 400, "invalid") == [("parameters.binary_data_output", "yes")]
    assert infer(trained, tensor(), parameters={"priority": 1, "timeout": 5}).status_code == 200


def test_classification_names_the_most_probable_classes(trained: TestClient) -> None:
    known = outputs(trained)
    for top, width in ((1, 1), (2, 2), (9, 2)):
        wanted = [{"name": "probabilities", "parameters": {"classification": top}}]
        (output,) = infer(trained, tensor(), outputs=wanted).json()["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [2, width])
        rows = [output["data"][row * width : (row + 1) * width] for row in range(2)]
        for row, label, probabilities in zip(
            rows, known["label"], np.reshape(known["probabilities"], (2, 2)), strict=True
        ):
            named = [text.split(":") for text in row]
            assert named[0][2] == label
            for value, column, text in named:
                assert float(value) == pytest.approx(probabilities[int(column)], abs=1e-6)
                assert text == ["no", "yes"][int(column)]
    wanted = [{"name": "label", "parameters": {"classification": 1}}]
    answer = infer(trained, tensor(), outputs=wanted)
    assert refused(answer, 400, "invalid") == [("outputs.0.parameters.classification", 1)]


def test_features_may_come_as_tensors_of_their_own(http: TestClient) -> None:
    spec = {name: value for name, value in SPEC.items() if name != "inputs"} | {"features": ["a", "b", "c"]}
    assert http.put("/v1/models/named", json=spec).status_code == 201
    learned(http, "/v1/models/named", [GOOD, {"x": [0, 0, 1], "y": "no"}])
    path = "/v2/models/named"

    def column(name: str, data: list[Any], shape: list[int], datatype: str = "FP32") -> dict[str, Any]:
        return tensor(data, shape, datatype, name=name)

    a, b, c = column("a", [1, -1], [2]), column("b", [2, 0], [2, 1], "INT32"), column("c", [3, 5], [2])
    known = infer(http, tensor(), path=path).json()["outputs"]
    assert infer(http, c, a, b, path=path).json()["outputs"] == known
    missing = infer(http, tensor([[1, None, 3], [-1, None, 5]]), path=path).json()["outputs"]
    assert infer(http, a, c, path=path).json()["outputs"] == missing
    for tensors, field in (
        ((a, column("d", [1, 1], [2])), "inputs.1.name"),
        ((a, a), "inputs.1.name"),
        ((a, tensor()), "inputs.1.name"),
        ((a, column("b", [1], [1])), "inputs.1.shape"),
        ((column("a", [1, 2, 3, 4], [2, 2]),), "inputs.0.shape"),
    ):
        assert [named for named, _ in refused(infer(http, *tensors, path=path), 400, "invalid")] == [field]


def test_a_regression_answers_values(http: TestClient) -> None:
    spec = {"task": "regression", "inputs": 3, "targets": 2, "hidden": [8]}
    assert http.put("/v1/models/r", json=spec).status_code == 201
    path = "/v2/models/r"
    (described,) = http.get(path).json()["outputs"]
    assert (described["name"], described["datatype"], described["shape"]) == ("values", "FP64", [-1, 2])
    refused(http.get(f"{path}/ready"), 503, "no-value-yet")
    refused(infer(http, tensor(), path=path), 503, "no-value-yet")
    learned(http, "/v1/models/r", [{"x": [1, 2, 3], "y": [1, -1]}, {"x": [0, 0, 1], "y": [5, -5]}])
    assert http.get(f"{path}/ready").status_code == 200
    known = np.array(http.post("/v1/models/r/predictions", json={"x": ROWS}).json()["values"])
    (values,) = infer(http, tensor(), path=path).json()["outputs"]
    assert values["shape"] == [2, 2]
    assert values["data"] == known.ravel().tolist()
    answer = infer(http, tensor(), path=path, parameters={"binary_data_output": True})
    assert decoded(answer) == {"values": known.ravel().tolist()}


def test_bodies_may_be_compressed_both_ways(trained: TestClient) -> None:
    known = outputs(trained)
    described, data = whole(X)
    head = json.dumps({"inputs": [described]}).encode()
    for name, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = {LENGTH: str(len(head)), "Content-Encoding": name}
        answer = trained.post(f"{V2}/infer", content=compress(head + data), headers=headers)
        assert decoded(answer) == known
    answer = trained.post(f"{V2}/infer", content=head, headers={"Content-Encoding": "br"})
    assert refused(answer, 415, "unsupported-media-type") == [("Content-Encoding", "br")]
    many = tensor([0.5] * 300, [100, 3])
    for asked, used in {
        "gzip": "gzip",
        "deflate": "deflate",
        "deflate, GZIP;q=0.5": "gzip",
        "gzip;q=0, deflate": "deflate",
        "br": None,
        "identity": None,
        "": None,
    }.items():
        trained.headers["Accept-Encoding"] = asked
        answer = infer(trained, many, parameters={"binary_data_output": True})
        assert answer.headers.get("Content-Encoding") == used
        assert len(decoded(answer)["label"]) == 100
        assert "Content-Encoding" not in infer(trained, tensor()).headers


def test_min_entry_sees_ones_own_write(trained: TestClient) -> None:
    for _ in range(3):
        entry = trained.post("/v1/models/m/samples", json={"samples": [GOOD]}).json()["entries"][-1]
        answer = trained.post(f"{V2}/infer", params={"min_entry": entry}, json={"inputs": [tensor()]}).json()
        assert answer["parameters"] == {"applied_entry": entry}
    answer = trained.post(f"{V2}/infer", params={"min_entry": "soon"}, json={"inputs": [tensor()]})
    assert refused(answer, 400, "invalid") == [("min_entry", "soon")]
