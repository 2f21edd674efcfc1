"""Published weights as bytes."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.entry_id import EntryId
from service.fold import Fold, Version
from service.publications import Published
from service.spec import ModelSpec
from service.weights import decode, encode

FOLD = Fold(ModelSpec(inputs=3, hidden=[4, 5], classes=["a", "b"]), device="cpu")
PUBLISHED = Published(7, Version(12, EntryId(5, 6), 34, FOLD.version().predictor))
MESSAGE = encode(PUBLISHED)


def message(header: bytes, tensors: bytes = MESSAGE[4 + int.from_bytes(MESSAGE[:4], "big") :]) -> bytes:
    return len(header).to_bytes(4, "big") + header + tensors


def test_a_version_comes_back_and_predicts_the_same() -> None:
    decoded = decode(MESSAGE)
    assert decoded.epoch == 7
    version = decoded.version
    assert (version.model_version, version.applied_entry, version.samples_learned) == (12, EntryId(5, 6), 34)
    x = torch.tensor([[1.0, 2.0, float("nan")], [0.0, -1e15, 3.0]])
    assert torch.equal(version.predictor(x), PUBLISHED.version.predictor(x))


HEADER = json.loads(MESSAGE[4 : 4 + int.from_bytes(MESSAGE[:4], "big")])


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xff\xff\xff",
        MESSAGE[:-1],
        MESSAGE[:50],
        MESSAGE + b"\0",
        message(b"[]"),
        message(b"5"),
        message(b"{}"),
        message(b"{"),
        message(b"\xff"),
        message(json.dumps(HEADER).encode(), b""),
        message(json.dumps(HEADER | {"applied_entry": 5}).encode()),
        message(json.dumps(HEADER | {"applied_entry": "x"}).encode()),
        message(json.dumps(HEADER | {"net": HEADER["net"] | {"activation": "unknown"}}).encode()),
        message(json.dumps({k: v for k, v in HEADER.items() if k != "epoch"}).encode()),
    ],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not published weights"):
        decode(garbage)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not published weights"):
        decode(garbage)
