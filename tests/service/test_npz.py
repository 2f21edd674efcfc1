"""npz bodies: what numpy writes is read, and nothing that a file states is trusted."""

from __future__ import annotations

import contextlib
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from service.api import npz
from service.api.bodies import read_inputs, read_samples
from service.api.media import NPZ
from service.api.sample_checks import Most
from service.entries import Samples
from service.problems import Invalid, Problem, TooLarge
from service.spec import ModelSpec

SPEC = ModelSpec(inputs=3, classes=["no", "yes"])
MOST = Most(samples=4, body_bytes=10_000)
X = np.array([[1, 2, 3], [4, np.nan, 6]])


def saved(*, compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def zipped(content: bytes, name: str = "x.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def samples(body: bytes, spec: ModelSpec = SPEC) -> Samples:
    return read_samples(body, NPZ, spec, most=MOST)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_number_type_are_read_and_nan_is_a_missing_value(
    compressed: bool, dtype: str, order: Any
) -> None:
    body = saved(x=np.asarray(X, dtype, order=order), y=["yes", "no"], weight=[0.5, 2], compressed=compressed)
    found = samples(body)
    assert_array_equal(found.x, X.astype(np.float32))
    assert list(found.y) == ["yes", "no"]
    assert_array_equal(found.weights(), np.array([0.5, 2], np.float32))
    assert_array_equal(read_inputs(saved(x=np.asarray(X, dtype)), NPZ, SPEC, most=MOST), X.astype(np.float32))


@pytest.mark.parametrize("classes", [[True, False], [1, 0], ["a", "ü☃"]])
def test_labels_keep_their_type(classes: list[Any]) -> None:
    found = samples(saved(x=X, y=classes), ModelSpec(inputs=3, classes=classes))
    assert list(found.y) == classes
    assert [type(label) for label in found.y] == [type(label) for label in classes]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"PK\x05\x06" + b"\0" * 18, "x"),
        (saved(x=X, y=["yes", "no"])[:-30], "body"),
        (saved(x=X, y=["yes", "no"]).replace(b"NUMPY", b"MUMPY"), "body"),  # its checksum no longer fits
        (saved(y=["yes"]), "x"),
        (saved(x=X), "y"),
        (saved(x=X, y=["yes", "no"], z=[1]), "z"),
        (saved(x=X, y=["yes"]), "y"),
        (saved(x=X, y=["yes", "maybe"]), "y.1"),
        (saved(x=X, y=[1, 0]), "y.0"),
        (saved(x=X, y=["yes", "no"], weight=[1, -1]), "weight.1"),
        (saved(x=X, y=["yes", "no"], weight=[[1, 1]]), "weight.0"),
        (saved(x=X[0], y=["yes"]), "x"),
        (saved(x=X[:, :2], y=["yes", "no"]), "x"),
        (saved(x=X[:0], y=[]), "x"),
        (saved(x=X > 1, y=["yes", "no"]), "x"),
        (saved(x=X.astype(str), y=["yes", "no"]), "x"),
        (saved(x=X.astype("g"), y=["yes", "no"]), "x"),
        (saved(x=np.full((1, 3), np.iinfo(np.int64).min), y=["yes"]), "x.0.0"),
        (saved(x=X.astype(complex), y=["yes", "no"]), "x"),
        (saved(x=np.array([[1, np.inf, 3]]), y=["yes"]), "x.0.1"),
        (saved(x=np.array([[1, 1e16, 3]]), y=["yes"]), "x.0.1"),
        (saved(x=np.array([[1, {}, 3]], object), y=["yes"]), "x"),
        (saved(x=X, y=np.array(["yes", "no"], object)), "y"),
        (saved(x=X, y=np.array([b"yes", b"no"])), "y"),
        (saved(x=X, y=np.array([0xD800, 0xDFFF], "<u4").view("<U1")), "y"),
        (saved(x=X, y=np.array([65, 0x110000], ">u4").view(">U1")), "y"),
        (zipped(header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 3)}\n")), "x"),
        (zipped(header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -3)}\n") + b"0" * 12), "x"),
        (zipped(header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': ()}\n")), "x"),
        (zipped(header("__import__('os').abort()\n")), "x"),
        (zipped(header("[" * 5000)), "x"),
        (zipped(b"\x93NUMPY\x09\x00"), "x"),
        (zipped(b""), "x"),
        (zipped(b"", method=zipfile.ZIP_BZIP2), "x.npy"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, field: str) -> None:
    with pytest.raises(Problem) as caught:
        samples(body)
    assert caught.value.status == 422
    assert [error.field for error in caught.value.errors] == [field]


def test_inputs_have_no_labels() -> None:
    with pytest.raises(Problem) as caught:
        read_inputs(saved(x=X, y=["yes", "no"]), NPZ, SPEC, most=MOST)
    assert [error.field for error in caught.value.errors] == ["y"]


def test_a_file_that_grows_beyond_the_limit_is_too_large_whatever_it_says() -> None:
    body = saved(x=np.zeros((10**6, 3)), y=["yes"] * 2, compressed=True)
    assert len(body) < 10**5
    with pytest.raises(TooLarge):
        samples(body)
    size = (10**6 * 24 + 128).to_bytes(4, "little")
    assert body.count(size) >= 1  # in the directory, and where the member begins
    for lie in (0, 100):
        with pytest.raises(Problem):
            samples(body.replace(size, lie.to_bytes(4, "little")))


def test_too_many_samples_are_too_large() -> None:
    with pytest.raises(TooLarge) as caught:
        samples(saved(x=np.zeros((5, 3)), y=["yes"] * 5))
    assert [(error.field, error.value) for error in caught.value.errors] == [("samples", 5)]


@pytest.mark.parametrize("value", [0, 1, 50, 255])
def test_no_damaged_byte_makes_an_array_disappear(value: int) -> None:
    whole = saved(x=X, y=["yes", "no"], weight=[1.0, 2.0])
    for position in range(len(whole)):
        body = whole[:position] + bytes([value]) + whole[position + 1 :]
        with contextlib.suppress(Invalid, TooLarge):
            assert npz.read(body, most_bytes=10_000).keys() == {"x", "y", "weight"}, position


@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    body = bytearray(saved(x=X, y=["yes", "no"]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Invalid, TooLarge):
        assert npz.read(bytes(body), most_bytes=10_000).keys() == {"x", "y"}
