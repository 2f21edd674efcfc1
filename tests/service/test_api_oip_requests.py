"""Requests of the Open Inference Protocol that want to be expensive: refused before they are parsed, or cheaply."""

from __future__ import annotations

import pytest

from service.api.oip_requests import MOST_PARTS, read_inference
from service.problems import Invalid, TooLarge
from service.spec import ModelSpec

SPEC = ModelSpec(inputs=3, classes=["no", "yes"], hidden=[8])
MOST = 100


def request(data: str, shape: str = "[1, 3]", datatype: str = "FP32") -> bytes:
    return f'{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}'.encode()


@pytest.mark.parametrize("part", ["[]", "[1]", "{}", "[ ]"])
def test_more_parts_than_a_request_can_need_are_refused_unparsed(part: str) -> None:
    with pytest.raises(TooLarge, match="lists and objects"):
        read_inference(request(f"[{','.join([part] * MOST_PARTS)}]"), None, SPEC, most=MOST)


def test_more_values_than_rows_can_have_are_refused_unparsed() -> None:
    with pytest.raises(TooLarge, match="values"):
        read_inference(request(f"[{','.join(['1'] * (2 * MOST_PARTS))}]"), None, SPEC, most=MOST)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (request("[" * 100_000 + "]" * 100_000), "body"),
        (request("[" * 150 + "1" + "]" * 150), "inputs.0.data"),
        (request("[1]", "[2147483647, 2147483647, 2147483647]"), "inputs.0.data"),
        (request("[1]", "[0, 2147483647]"), "inputs.0.data"),
        (request("[1e999, 1, 2]"), "inputs.0.data.0"),
        (request("[1e999, 1, 2]", datatype="INT8"), "inputs.0.data.0"),
        (request(f"[{'9' * 5000}, 1, 2]"), "body"),
    ],
)
def test_depth_and_size_on_paper_cost_nothing(body: bytes, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_inference(body, None, SPEC, most=MOST)
    assert [error.field for error in refused.value.errors] == [field]


def test_images_may_be_nested_as_deep_as_their_shape() -> None:
    spec = ModelSpec(inputs=784, classes=["no", "yes"], hidden=[8])
    row = [[[0.5] * 28] * 28]
    inference = read_inference(request(str([row] * MOST), f"[{MOST}, 1, 28, 28]"), None, spec, most=MOST)
    assert inference.inputs.shape == (MOST, 784)
