"""Bodies with numbers: what is taken, and what is refused with which field and value."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.api.bodies import read_inputs, read_query, read_samples
from service.api.media import JSON, MSGPACK, content_kind
from service.api.sample_checks import Most
from service.entries import Samples
from service.problems import Problem, TooLarge, UnsupportedMedia
from service.spec import ModelSpec
from tests.service.api import packed

SPEC = ModelSpec(inputs=3, classes=["no", "yes"])
MOST = Most(samples=4, body_bytes=10_000)
X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
LABELS = ["yes", "no"]


def from_json(body: Any, spec: ModelSpec = SPEC) -> Samples:
    return read_samples(body if isinstance(body, bytes) else json.dumps(body).encode(), JSON, spec, most=MOST)


def from_msgpack(body: bytes, spec: ModelSpec = SPEC) -> Samples:
    return read_samples(body, MSGPACK, spec, most=MOST)


def sample(**fields: str) -> bytes:
    """A body with one sample; fields are JSON."""
    pairs = ({"x": "[1, 2, 3]", "y": '"yes"'} | fields).items()
    return ('{"samples": [{' + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}]}").encode()


def cell(value: float) -> bytes:
    x = X.copy()
    x[1, 2] = value
    return packed(x, LABELS)


def with_x(x: Any) -> bytes:
    body: bytes = msgpack.packb({"x": x, "n": 2, "y": LABELS})
    return body


def test_the_same_samples_in_either_format_are_the_same() -> None:
    rows = [{"x": x, "y": y, "weight": w} for x, y, w in zip(X.tolist(), LABELS, [0.5, 2], strict=True)]
    for samples in (from_json({"samples": rows}), from_msgpack(packed(X, LABELS, weight=[0.5, 2]))):
        assert_array_equal(samples.x, X)
        assert samples.x.dtype == np.float32
        assert list(samples.y) == LABELS
        assert_array_equal(samples.weights(), np.array([0.5, 2], np.float32))


@pytest.mark.parametrize("weight", [None, [1, 1], [1.0, 1.0]])
def test_weights_of_1_are_no_weights(weight: Any) -> None:
    assert from_msgpack(packed(X, LABELS, weight=weight)).weight is None


def test_null_is_a_missing_value() -> None:
    assert_array_equal(from_json(sample(x="[null, -0.0, 1e-42]")).x, np.array([[np.nan, -0.0, 1e-42]], np.float32))


def test_minus_zero_and_denormals_arrive_bit_for_bit() -> None:
    x = np.array([[-0.0, 1e-45, np.float32(1e15)]], np.float32)
    assert from_msgpack(packed(x, ["yes"])).x.tobytes() == x.tobytes()
    assert from_json(sample(x="[-0.0, 1e-45, 1e15]")).x.tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (b"", "body", "0 bytes"),
        (b"{", "body", "1 bytes"),
        (b"\xff\xfe", "body", "2 bytes"),
        (b"\xef\xbb\xbf{}", "body", "5 bytes"),
        (b'{"samples": []} x', "body", "17 bytes"),
        (b"[" * 5000, "body", "5000 bytes"),
        (b'{"samples":' * 3000, "body", "33000 bytes"),
        (b"null", "body", None),
        (b"[]", "body", "[]"),
        (b"{}", "samples", None),
        (b'{"samples": []}', "samples", "[]"),
        (b'{"samples": {}}', "samples", "{}"),
        (b'{"samples": [1, 2]}', "samples.0", 1),
        (sample(x="[1, 2]"), "samples.0.x", "2 numbers"),
        (sample(x="[1, 2, 3, 4]"), "samples.0.x", "4 numbers"),
        (sample(x="[]"), "samples.0.x", "0 numbers"),
        (sample(x="null"), "samples.0.x", None),
        (sample(x="[[1], 2, 3]"), "samples.0.x.0", "[1]"),
        (sample(x="[1, NaN, 3]"), "samples.0.x.1", "nan"),
        (sample(x="[1, 2, Infinity]"), "samples.0.x.2", "inf"),
        (sample(x="[1, 2, -Infinity]"), "samples.0.x.2", "-inf"),
        (sample(x="[1, 2, 1e400]"), "samples.0.x.2", "inf"),
        (sample(x="[1, 1e20, 3]"), "samples.0.x.1", 1e20),
        (sample(x="[1, -1.001e15, 3]"), "samples.0.x.1", -1.001e15),
        (sample(x="[true, 2, 3]"), "samples.0.x.0", True),
        (sample(x='["1", 2, 3]'), "samples.0.x.0", "1"),
        (sample(y="true"), "samples.0.y", True),
        (sample(y="1"), "samples.0.y", 1),
        (sample(y="1.0"), "samples.0.y", 1.0),
        (sample(y="null"), "samples.0.y", None),
        (sample(y='["yes"]'), "samples.0.y", "['yes']"),
        (sample(y='"maybe"'), "samples.0.y", "maybe"),
        (sample(y='""'), "samples.0.y", ""),
        (sample(y=str(2**63)), "samples.0.y", str(2**63)),
        (sample(y=json.dumps("a" * 300)), "samples.0.y", "a" * 200 + "…"),
        (sample(weight="-0.1"), "samples.0.weight", -0.1),
        (sample(weight="NaN"), "samples.0.weight", "nan"),
        (sample(weight="Infinity"), "samples.0.weight", "inf"),
        (sample(weight="1000001"), "samples.0.weight", 1000001),
        (sample(weight="true"), "samples.0.weight", True),
        (sample(weight="null"), "samples.0.weight", None),
        (sample(label='"yes"'), "samples.0.label", "yes"),
        (b'{"samples": [{"x": [1, 2, 3]}]}', "samples.0.y", None),
    ],
)
def test_json_is_refused_naming_the_field_and_the_value(body: bytes, field: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        from_json(body)
    assert caught.value.status == 422
    assert [(error["field"], error["value"]) for error in caught.value.as_json()["errors"]] == [(field, value)]
    assert caught.value.detail.startswith(f"{field} = {value!r}: ")


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (b"", "body", "0 bytes"),
        (packed(X, LABELS)[:-3], "body", f"{len(packed(X, LABELS)) - 3} bytes"),
        (packed(X, LABELS) + b"\x01", "body", f"{len(packed(X, LABELS)) + 1} bytes"),
        (b"\xc1", "body", "1 bytes"),
        (b"\x91" * 90_000, "body", "90000 bytes"),
        (b"\x81\xa1a" * 30_000, "body", "90000 bytes"),
        (b"\xdd\xff\xff\xff\xff", "body", "5 bytes"),
        (b"\xdf\xff\xff\xff\xff", "body", "5 bytes"),
        (b"\xdb\xff\xff\xff\xff", "body", "5 bytes"),
        (b"\xc6\xff\xff\xff\xff", "body", "5 bytes"),
        (b"\xc7\x0c\xff" + b"\xff" * 12, "body", "15 bytes"),
        (b"\x81\xa1y\xa2\xff\xfe", "body", "6 bytes"),
        (b"\x81\x91\x01\x01", "body", "4 bytes"),
        (msgpack.packb({1: 2}), "body", "3 bytes"),
        (msgpack.packb([1]), "body", "list"),
        (msgpack.packb(5), "body", "int"),
        (msgpack.packb(None), "body", "NoneType"),
        (msgpack.packb(msgpack.ExtType(5, b"abc")), "body", "ExtType"),
        (packed(X, LABELS, n=0), "n", 0),
        (packed(X, LABELS, n=-1), "n", -1),
        (packed(X, LABELS, n=True), "n", True),
        (packed(X, LABELS, n=2.0), "n", 2.0),
        (packed(X, LABELS, n=1), "y", "2 values"),
        (packed(X, LABELS, n=3), "y", "2 values"),
        (packed(X, ["yes"] * 3, n=3), "x", "24 bytes"),
        (with_x(b""), "x", "0 bytes"),
        (with_x(X.tobytes()[:-1]), "x", "23 bytes"),
        (with_x("a" * 24), "x", "a" * 24),
        (with_x([1, 2, 3]), "x", "[1, 2, 3]"),
        (packed(X, []), "y", "0 values"),
        (msgpack.packb({"x": X.tobytes(), "n": 2, "y": "yes"}), "y", "yes"),
        (packed(X, LABELS, z=1), "z", 1),
        (packed(X), "y", None),
        (packed(X, [True, False]), "y.0", True),
        (packed(X, ["yes", b"no"]), "y.1", "2 bytes"),
        (packed(X, ["yes", 1.0]), "y.1", 1.0),
        (packed(X, ["yes", None]), "y.1", None),
        (packed(X, ["yes", 2**64 - 1]), "y.1", str(2**64 - 1)),
        (packed(X, ["yes", "maybe"]), "y.1", "maybe"),
        (packed(X, [["yes"], "no"]), "y.0", "['yes']"),
        (packed(X, ["yes", msgpack.Timestamp(1, 1)]), "y.1", "Timestamp(seconds=1, nanoseconds=1)"),
        (packed(X, LABELS, weight=[1]), "weight", "1 values"),
        (packed(X, LABELS, weight=2), "weight", 2),
        (packed(X, LABELS, weight=[1, -1.0]), "weight.1", -1.0),
        (packed(X, LABELS, weight=[1, True]), "weight.1", True),
        (packed(X, LABELS, weight=[1, float("nan")]), "weight.1", "nan"),
        (packed(X, LABELS, weight=[1, float("inf")]), "weight.1", "inf"),
        (packed(X, LABELS, weight=[1, 1e7]), "weight.1", 1e7),
        (cell(np.nan), "x.1.2", "nan"),
        (cell(np.inf), "x.1.2", "inf"),
        (cell(-np.inf), "x.1.2", "-inf"),
        (cell(1e20), "x.1.2", float(np.float32(1e20))),
        (cell(-1.001e15), "x.1.2", float(np.float32(-1.001e15))),
    ],
)
def test_msgpack_is_refused_naming_the_field_and_the_value(body: bytes, field: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        from_msgpack(body)
    assert caught.value.status == 422
    assert [(error["field"], error["value"]) for error in caught.value.as_json()["errors"]] == [(field, value)]


@pytest.mark.parametrize("sign", [1, -1])
def test_1e15_is_the_largest_input_in_either_format(sign: int) -> None:
    largest = sign * np.float32(1e15)
    assert from_msgpack(cell(float(largest))).x[1, 2] == largest
    assert from_json(sample(x=f"[1, 2, {sign}e15]")).x[0, 2] == largest
    with pytest.raises(Problem):
        from_msgpack(cell(float(sign * np.nextafter(np.float32(1e15), np.float32(np.inf)))))
    with pytest.raises(Problem):
        from_json(sample(x=f"[1, 2, {sign * 1.000001e15!r}]"))


@pytest.mark.parametrize("classes", [[True, False], [1, 0], ["1", "True"], [-(2**63), 2**63 - 1]])
def test_labels_keep_their_type_and_value(classes: list[Any]) -> None:
    spec = ModelSpec(inputs=3, classes=classes)
    rows = [{"x": x, "y": y} for x, y in zip(X.tolist(), classes, strict=True)]
    for samples in (from_json({"samples": rows}, spec), from_msgpack(packed(X, classes), spec)):
        assert list(samples.y) == classes
        assert [type(label) for label in samples.y] == [type(label) for label in classes]


@pytest.mark.parametrize(
    ("classes", "wrong"), [([True, False], 1), ([1, 0], True), (["1", "0"], 1), ([1, 0], "1"), ([1, 0], 2)]
)
def test_a_label_of_another_type_is_no_class(classes: list[Any], wrong: Any) -> None:
    spec = ModelSpec(inputs=3, classes=classes)
    with pytest.raises(Problem) as caught:
        from_json(sample(y=json.dumps(wrong)), spec)
    [error] = caught.value.errors
    assert (error.field, error.value) == ("samples.0.y", wrong)
    assert type(error.value) is type(wrong)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"samples": [{"x": [1, 2, 3], "y": "yes"}] * (MOST.samples + 1)}).encode(),
        b'{"samples": [' + b'{"x": [], "y": 1},' * MOST.samples + b'{"x"\n:',  # refused before it is parsed
    ],
)
def test_too_many_samples_in_json_are_too_large(body: bytes) -> None:
    with pytest.raises(TooLarge) as caught:
        from_json(body)
    [error] = caught.value.errors
    assert (error.field, error.value) == ("samples", MOST.samples + 1)


@pytest.mark.parametrize(
    "body",
    [
        packed(np.ones((MOST.samples + 1, 3)), ["yes"] * (MOST.samples + 1)),
        packed(X, [None] * (MOST.samples + 1)),
        packed(X, LABELS, weight=[-1] * (MOST.samples + 1)),
        packed(X, LABELS, n=MOST.samples + 1),
    ],
)
def test_too_many_samples_in_msgpack_are_too_large(body: bytes) -> None:
    with pytest.raises(TooLarge) as caught:
        from_msgpack(body)
    [error] = caught.value.errors
    assert (error.field, error.value) == ("samples", MOST.samples + 1)


def test_a_label_that_looks_like_a_key_counts_as_no_sample() -> None:
    spec = ModelSpec(inputs=3, classes=["x", '"x":', "x:"])
    samples = [{"x": [1, 2, 3], "y": label} for label in spec.classes]
    assert list(from_json({"samples": samples}, spec).y) == spec.classes


@pytest.mark.parametrize("body", [b'{"samples": [' + b"1," * 50_000 + b"1]}", sample(x="[" + '"a",' * 50_000 + "1]")])
def test_a_list_of_wrong_items_is_one_error(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        from_json(body)
    assert len(caught.value.errors) == 1


def test_thousands_of_unknown_fields_are_counted_not_listed() -> None:
    fields = {f"f{i}": 1 for i in range(5000)}
    with pytest.raises(Problem) as caught:
        from_json({"samples": [fields]})
    [error] = caught.value.errors
    assert (error.field, error.value) == ("body", "5002 errors")


def test_a_post_with_several_wrong_fields_names_them_all() -> None:
    with pytest.raises(Problem) as caught:
        from_json(b'{"samples": [{"x": 1, "y": null, "z": 2}]}')
    assert [error.field for error in caught.value.errors] == ["samples.0.x", "samples.0.y", "samples.0.z"]
    assert caught.value.detail.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [("application/json", JSON), ("Application/JSON; charset=utf-8", JSON), ("application/msgpack", MSGPACK)],
)
def test_content_types_are_told_apart(content_type: str, kind: str) -> None:
    assert content_kind(content_type) == kind


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "text/csv", "json"])
def test_other_content_types_are_unsupported(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        content_kind(content_type)
    [error] = caught.value.errors
    assert (error.field, error.value) == ("Content-Type", content_type)


def test_inputs_in_every_form_are_the_same() -> None:
    body = json.dumps({"x": X[:1].tolist()}).encode()
    for x in (
        read_inputs(body, JSON, SPEC, most=MOST),
        read_inputs(packed(X[:1]), MSGPACK, SPEC, most=MOST),
        read_query("1,2.0, +3e0 ", SPEC),
    ):
        assert_array_equal(x, X[:1])


def test_missing_inputs_are_an_empty_place_or_null() -> None:
    expected = np.array([[np.nan, 2, np.nan]], np.float32)
    assert_array_equal(read_query(",2,", SPEC), expected)
    assert_array_equal(read_query(" ", SPEC.changed(inputs=1)), [[np.nan]])
    assert_array_equal(read_inputs(b'{"x": [[null, 2, null]]}', JSON, SPEC, most=MOST), expected)


@pytest.mark.parametrize(
    ("x", "field", "value"),
    [
        ("", "x", "1 numbers"),
        ("1,2", "x", "2 numbers"),
        ("1,2,3,", "x", "4 numbers"),
        ("1,2,a", "x.2", "a"),
        ("1,2,nan", "x.2", "nan"),
        ("1,2,-inf", "x.2", "-inf"),
        ("1,2,true", "x.2", "true"),
        ("1,2,null", "x.2", "null"),
        ('1,2,"3"', "x.2", '"3"'),
        ("1,2],[3", "x.1", "2]"),
        ("1,2,1_000", "x.2", "1_000"),
        ("1,2,٣", "x.2", "٣"),
        ("1,2,0x10", "x.2", "0x10"),
        ("1,2,.", "x.2", "."),
        ("1,2,1e400", "x.2", "inf"),
        ("1e20,2,3", "x.0", 1e20),
    ],
)
def test_a_query_is_refused_naming_the_place(x: str, field: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        read_query(x, SPEC)
    assert [(error["field"], error["value"]) for error in caught.value.as_json()["errors"]] == [(field, value)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"x": []}', "x"),
        (b'{"x": [1, 2, 3]}', "x.0"),
        (b'{"x": [[1, 2]]}', "x.0"),
        (b'{"x": [[1, 2, 3], [1, 2, 3e15]]}', "x.1.2"),
        (b'{"x": [[1, 2, NaN]]}', "x.0.2"),
        (b'{"x": [[1, 2, 3]], "y": 1}', "y"),
    ],
)
def test_inputs_are_refused_naming_the_field(body: bytes, field: str) -> None:
    with pytest.raises(Problem) as caught:
        read_inputs(body, JSON, SPEC, most=MOST)
    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (packed(np.ones((MOST.samples + 1, 3))), MSGPACK),
        (json.dumps({"x": [[1, 2, 3]] * (MOST.samples + 1)}).encode(), JSON),
    ],
)
def test_too_many_inputs_are_too_large(body: bytes, content: str) -> None:
    with pytest.raises(TooLarge):
        read_inputs(body, content, SPEC, most=MOST)
