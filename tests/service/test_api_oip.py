"""The Open Inference Protocol over JSON: what its clients ask, and what they get to read when they ask wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import __version__
from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, assembled, key, learned, running
from tests.service.conftest import SPEC
from tests.service.oip import ROWS, V2, infer, refused, tensor


def test_health_and_the_servers_metadata_need_no_key(http: TestClient) -> None:
    del http.headers["Authorization"]
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    server = http.get("/v2").json()
    assert (server["name"], server["version"]) == ("amstream", __version__)


def test_metadata_name_the_tensors_that_infer_takes_and_gives(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD])
    described = http.get(V2).json()
    assert (described["name"], described["versions"], described["platform"]) == ("m", ["1"], "amstream")
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3], "parameters": {}}]
    label, probabilities = described["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "BYTES", [-1])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP64", [-1, 2])
    assert probabilities["parameters"] == {"classes": ["no", "yes"]}
    given = infer(http, tensor()).json()["outputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in given] == [
        ("label", "BYTES", [2]),
        ("probabilities", "FP64", [2, 2]),
    ]


def test_infer_answers_as_predictions_do(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    answer = infer(http, tensor(), id="my-request").json()
    known = http.post(f"{model}/predictions", json={"x": ROWS}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "1", "my-request")
    labels, probabilities = answer["outputs"]
    assert labels["data"] == known["labels"]
    assert probabilities["data"] == pytest.approx([p for row in known["probabilities"] for p in row])
    assert "id" not in infer(http, tensor()).json()


FLAT = [number for row in ROWS for number in row]
INTEGERS = [int(number) for number in FLAT]
SAME = [
    tensor(FLAT),
    tensor(FLAT, datatype="FP64"),
    tensor(ROWS, datatype="FP16"),
    tensor(INTEGERS, datatype="INT8"),
    tensor(FLAT, datatype="INT32"),
    tensor([INTEGERS[:3], INTEGERS[3:]], datatype="INT64"),
    tensor([[[1], [2], [3]], [[-1], [0], [5]]], [2, 3, 1], "INT32"),
    tensor(FLAT, [2, 1, 3]),
]


def test_data_may_be_flat_or_nested_and_of_any_number_type(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    outputs = infer(http, tensor()).json()["outputs"]
    for same in SAME:
        assert infer(http, same).json()["outputs"] == outputs


def test_booleans_are_numbers_where_the_datatype_says_so(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    as_numbers = infer(http, tensor([1, 0, 1], [1, 3], "UINT8")).json()["outputs"]
    assert infer(http, tensor([True, False, True], [1, 3], "BOOL")).json()["outputs"] == as_numbers


def test_one_row_may_come_without_the_dimension_of_the_batch(http: TestClient, model: str) -> None:
    one = infer(http, tensor([1.0, 2.0, 3.0], [3])).json()["outputs"]
    assert one == infer(http, tensor([[1.0, 2.0, 3.0]], [1, 3])).json()["outputs"]
    assert [output["shape"] for output in one] == [[1], [1, 2]]


def test_null_is_a_missing_value(http: TestClient, model: str) -> None:
    learned(http, model, [{"x": [0, 4, 1], "y": "no"}, {"x": [1, 8, 2], "y": "yes"}, {"x": [3, 0, None], "y": "yes"}])
    mean = infer(http, tensor([1, 4, 2], [1, 3])).json()["outputs"]
    assert infer(http, tensor([1, None, 2], [1, 3])).json()["outputs"] == mean
    assert infer(http, tensor([1, None, 2], [1, 3], "INT16")).json()["outputs"] == mean


def test_outputs_that_are_asked_for_come_in_that_order(http: TestClient, model: str) -> None:
    everything = infer(http, tensor()).json()["outputs"]
    swapped = infer(http, tensor(), outputs=[{"name": "probabilities"}, {"name": "label"}]).json()["outputs"]
    assert swapped == everything[::-1]
    assert infer(http, tensor(), outputs=[{"name": "label"}]).json()["outputs"] == everything[:1]
    assert infer(http, tensor(), outputs=[], parameters=None).json()["outputs"] == everything
    answer = infer(http, tensor(), outputs=[{"name": "label"}, {"name": "score"}])
    assert refused(answer, 400, "invalid") == [("outputs.1.name", "score")]
    answer = infer(http, tensor(), outputs=[{"name": "label"}, {"name": "label"}])
    assert refused(answer, 400, "invalid") == [("outputs.1.name", "label")]


@pytest.mark.parametrize(("classes", "texts"), [([7, -3], {"7", "-3"}), ([True, False], {"true", "false"})])
def test_labels_of_any_type_are_texts(http: TestClient, classes: list[Any], texts: set[str]) -> None:
    assert http.put("/v1/models/typed", json=SPEC | {"classes": classes}).status_code == 201
    (label, _) = infer(http, tensor(), path="/v2/models/typed").json()["outputs"]
    assert set(label["data"]) <= texts
    described = http.get("/v2/models/typed").json()
    assert set(described["outputs"][1]["parameters"]["classes"]) == texts


def test_features_are_named_where_the_spec_names_them(http: TestClient) -> None:
    spec = {key: value for key, value in SPEC.items() if key != "inputs"} | {"features": ["a", "b", "c"]}
    assert http.put("/v1/models/named", json=spec).status_code == 201
    (described,) = http.get("/v2/models/named").json()["inputs"]
    assert described["parameters"] == {"features": ["a", "b", "c"]}


def test_only_the_newest_version_is_served(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD])
    learned(http, model, [GOOD])
    assert http.get(f"{V2}/versions/2").json() == http.get(V2).json()
    assert http.get(f"{V2}/versions/2/ready").json() == {"name": "m", "ready": True}
    assert infer(http, tensor(), path=f"{V2}/versions/2").json() == infer(http, tensor()).json()
    for other in ("1", "3", "newest", "02", "%00"):
        for answer in (
            http.get(f"{V2}/versions/{other}"),
            http.get(f"{V2}/versions/{other}/ready"),
            infer(http, tensor(), path=f"{V2}/versions/{other}"),
        ):
            assert [field for field, _ in refused(answer, 404, "unknown-version")] == ["version"]


def test_a_model_without_any_class_is_not_ready(http: TestClient) -> None:
    spec = {"inputs": 3, "label_type": "integer", "max_classes": 3, "hidden": [8]}
    assert http.put("/v1/models/empty", json=spec).status_code == 201
    path = "/v2/models/empty"
    refused(http.get(f"{path}/ready"), 503, "no-class-yet")
    refused(infer(http, tensor(), path=path), 503, "no-class-yet")
    assert http.get(path).json()["outputs"][1]["shape"] == [-1, -1]
    learned(http, "/v1/models/empty", [{"x": [0, 0, 1], "y": 7}])
    assert http.get(f"{path}/ready").json() == {"name": "empty", "ready": True}
    assert infer(http, tensor(), path=path).json()["outputs"][0]["data"] == ["7", "7"]


WRONG: list[tuple[dict[str, Any], str, Any]] = [
    ({"name": "y"}, "inputs.0.name", "y"),
    ({"datatype": "FP31"}, "inputs.0.datatype", "FP31"),
    ({"datatype": "BYTES"}, "inputs.0.datatype", "BYTES"),
    ({"shape": [2, 2], "data": FLAT[:4]}, "inputs.0.shape", "[2, 2]"),
    ({"shape": [0, 3], "data": []}, "inputs.0.shape", "[0, 3]"),
    ({"shape": [6], "data": FLAT}, "inputs.0.shape", "[6]"),
    ({"shape": [2, -3]}, "inputs.0.shape.1", -3),
    ({"shape": []}, "inputs.0.shape", "[]"),
    ({"shape": [3, 2], "data": FLAT}, "inputs.0.shape", "[3, 2]"),
    ({"shape": "2,3"}, "inputs.0.shape", "2,3"),
    ({"data": None}, "inputs.0.data", None),
    ({"data": [1, 2, 3]}, "inputs.0.data", "3 numbers of the shape [3]"),
    ({"data": [[1, 2], [3, 4], [5, 6]]}, "inputs.0.data", "6 numbers of the shape [3, 2]"),
    ({"data": [[1, 2, 3], [4, 5]]}, "inputs.0.data", "2 numbers of the shape [2]"),
    ({"data": [[1, 2, 3], [4, 5, "6"]]}, "inputs.0.data.5", "6"),
    ({"data": [[1, 2, 3], [4, 5, True]]}, "inputs.0.data.5", True),
    ({"data": [1, 2, 3, 4, 5, {}]}, "inputs.0.data.5", "{}"),
    ({"data": [1, 2, 3, 4, 5, [6]]}, "inputs.0.data.5", "[6]"),
    ({"data": [1, 2, 3, 4, 5, 1e16]}, "inputs.0.data.5", 1e16),
    ({"data": [1, 2, 3, 4, 5, 10**400]}, "inputs.0.data", "an integer"),
    ({"data": [1, 2, 3, 4, 5, 6.5], "datatype": "INT32"}, "inputs.0.data.5", 6.5),
    ({"data": [1, 2, 3, 4, 5, 128], "datatype": "INT8"}, "inputs.0.data.5", 128),
    ({"data": [1, 2, 3, 4, 5, -1], "datatype": "UINT64"}, "inputs.0.data.5", -1),
    ({"data": [1, 0, 1, 0, 1, 0], "datatype": "BOOL"}, "inputs.0.data.0", 1),
]


def test_a_wrong_tensor_is_named(http: TestClient, model: str) -> None:
    for wrong, field, value in WRONG:
        assert refused(infer(http, tensor() | wrong), 400, "invalid") == [(field, value)]


def test_other_wrong_requests_are_named(http: TestClient, model: str) -> None:
    def post(content: str) -> Any:
        return http.post(f"{V2}/infer", content=content)

    assert refused(post("{"), 400, "invalid") == [("body", "1 bytes")]
    assert refused(post("[]"), 400, "invalid") == [("body", "[]")]
    assert refused(post("{}"), 400, "invalid") == [("inputs", None)]
    assert refused(infer(http), 400, "invalid") == [("inputs", "[]")]
    assert refused(infer(http, tensor(), id=7), 400, "invalid") == [("id", 7)]
    assert refused(infer(http, tensor(), tensor()), 400, "invalid") == [("inputs.0.name", "x")]
    for word, shown in (("NaN", "NaN"), ("Infinity", "inf")):
        text = json.dumps({"inputs": [tensor([1, 2, 3, 4, 5, "?"])]}).replace('"?"', word)
        assert [value for _, value in refused(post(text), 400, "invalid")] == [shown]
    assert refused(infer(http, tensor([0.0] * 303, [101, 3])), 413, "too-large") == [("inputs.0.shape", 101)]
    large = tensor([0.123456789] * 30_000, [10_000, 3])
    assert [field for field, _ in refused(infer(http, large), 413, "too-large")] == ["body"]


def test_unknown_things_are_not_found_in_the_protocols_words(http: TestClient) -> None:
    for answer in (
        http.get("/v2/models/nn"),
        http.get("/v2/models/nn/ready"),
        infer(http, tensor(), path="/v2/models/nn"),
    ):
        assert refused(answer, 404, "unknown-model") == [("model", "nn")]
    assert http.get("/v2/models/nn/config").json()["error"] == "Not Found"
    assert http.post("/v2").json()["error"] == "Method Not Allowed"


def test_infer_needs_the_scope_predict(http: TestClient, services: Services, model: str) -> None:
    predict, learn = key(services, "predict", name="p"), key(services, "learn", name="l")
    other = key(services, "predict", name="o", models=["other"])
    del http.headers["Authorization"]
    for path in (V2, f"{V2}/ready"):
        assert http.get(path, headers=learn).status_code == 200
        refused(http.get(path, headers=other), 403, "forbidden")
        refused(http.get(path), 401, "unauthenticated")
    content = {"inputs": [tensor()]}
    assert http.post(f"{V2}/infer", headers=predict, json=content).status_code == 200
    for headers in (learn, other):
        refused(http.post(f"{V2}/infer", headers=headers, json=content), 403, "forbidden")
    answer = http.post(f"{V2}/infer", json=content)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_process_that_only_learns_speaks_no_inference(settings: Settings, redis_url: str, sqlite_url: str) -> None:
    with running(assembled(settings.model_copy(update={"role": "learner"}), redis_url, sqlite_url)) as client:
        assert client.get("/v2/health/live").status_code == 404
