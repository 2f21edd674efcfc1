"""Published weights as bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.predictor import Past
from service import entries
from service.entries import Samples, Target
from service.entry_id import EntryId
from service.fold import Fold
from service.publications import Published
from service.spec import ModelSpec
from service.weights import decode, encode
from tests.models.test_learner_contract import frozen
from tests.service.test_fold import no_state


def published(spec: ModelSpec, *, learned: bool = True) -> Published:
    fold = Fold(spec, device="cpu")
    if learned:
        y: list[Target] = [1.5, -2.0] if spec.targets else ["a", "b"]
        x = np.arange(2 * spec.inputs, dtype=np.float32).reshape(2, -1)
        fold.apply(EntryId(1, 0), entries.encode(Samples(x, y, None)), load_state=no_state)
        fold.settle()
    return Published(7, replace(fold.version(), model_version=12, applied_entry=EntryId(5, 6), samples_learned=34))


SPECS = [
    ModelSpec(inputs=3, hidden=[4, 5], classes=["a", "b"]),
    ModelSpec(inputs=3, hidden=[4, 5], label_type="string"),
    ModelSpec(inputs=3, hidden=[4], task="regression"),
    ModelSpec(inputs=64, hidden=[16], classes=["a", "b"], learner="never-forget", image=[1, 8, 8], scale="pooled"),
]
PUBLISHED = published(SPECS[0])
MESSAGE = encode(PUBLISHED)


def message(header: bytes, tensors: bytes = MESSAGE[4 + int.from_bytes(MESSAGE[:4], "big") :]) -> bytes:
    return len(header).to_bytes(4, "big") + header + tensors


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=["classes", "open", "values", "image"])
def test_a_version_comes_back_and_predicts_the_same(spec: ModelSpec, learned: bool) -> None:
    was = published(spec, learned=learned)
    decoded = decode(encode(was))
    assert decoded.epoch == 7
    version = decoded.version
    assert (version.model_version, version.applied_entry, version.samples_learned) == (12, EntryId(5, 6), 34)
    assert version.labels == was.version.labels
    x = torch.randn(2, spec.inputs, generator=torch.Generator().manual_seed(0))
    x[0, 0], x[1, 1] = torch.nan, -1e15
    outputs = [one.predictor(x) for one in (version, was.version)]
    assert torch.equal(*outputs)
    assert frozen(version.metrics.tensors()) == frozen(was.version.metrics.tensors())
    assert (version.target_scale is None) == (spec.targets is None)
    if version.target_scale is not None and was.version.target_scale is not None:
        assert torch.equal(version.target_scale.restored(outputs[0]), was.version.target_scale.restored(outputs[1]))


def test_what_predicts_older_inputs_comes_with_it() -> None:
    was = published(SPECS[0])
    predictor = was.version.predictor
    past = Past(tuple(-W for W in predictor.weights), torch.tensor([1.0, 0, 0, 0]))
    both = replace(was, version=replace(was.version, predictor=replace(predictor, past=past)))
    x = torch.tensor([[-9.0, 1, 2], [9.0, 1, 2]])
    older, late = decode(encode(both)).version.predictor(x)
    assert torch.equal(older, replace(predictor, weights=past.weights)(x)[0])
    assert torch.equal(late, predictor(x)[1])


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
