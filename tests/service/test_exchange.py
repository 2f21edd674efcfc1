"""Snapshot files: what was written comes back bit for bit, and nothing else gets in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service import exchange, state
from service.entry_id import EntryId
from service.fold import Fold
from service.problems import FieldError, Invalid
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from tests.service.snapshot_files import File, changed, learned, raw, written

SPEC = ModelSpec(learner="am-mem-paper", inputs=3, hidden=[5, 4], classes=["no", "yes"])
FOLD = learned(SPEC)
GOOD = written(FOLD)


def refusal(content: bytes, spec: ModelSpec = SPEC) -> FieldError:
    with pytest.raises(Invalid) as caught:
        exchange.read(content, spec)
    return caught.value.errors[0]


def test_what_was_written_is_read_with_its_digest_and_place() -> None:
    imported = exchange.read(GOOD, SPEC)
    assert imported.stored == state.store(FOLD.state())
    assert imported.position == Position(EntryId(7, 1), 3, 24)


def test_writing_twice_gives_the_same_bytes() -> None:
    assert written(FOLD) == GOOD


def test_a_model_with_another_seed_block_and_retention_takes_the_state() -> None:
    other = SPEC.model_copy(update={"seed": 9, "block": SPEC.block.model_copy(update={"size": 2}), "retain_s": 1.0})
    assert exchange.read(GOOD, other).stored == exchange.read(GOOD, SPEC).stored


@given(
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    classes=st.lists(st.text(max_size=8).filter(lambda s: s.isprintable()), min_size=2, max_size=4, unique=True),
    scale=st.sampled_from(["running", "pooled", "none"]),
    learner=st.sampled_from(["am-mem", "am-mem-paper"]),
    horizon=st.sampled_from([None, 10.0]),
    offset=st.sampled_from([0.0, 1.0, 1e6, -1e-6]),
    spread=st.sampled_from([1.0, 1e-6, 1e6, 0.0]),
    blocks=st.integers(0, 6),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_whatever_was_learned_can_be_read_back_and_is_within_the_limit(
    hidden: list[int], classes: list[Any], scale: Any, learner: Any, horizon: float | None, offset: float, spread: float,
    blocks: int, seed: int,
) -> None:  # fmt: skip
    spec = ModelSpec(
        inputs=4,
        hidden=hidden,
        classes=classes,
        scale=scale,
        learner=learner,
        hyperparameters={"horizon": horizon} if learner == "am-mem-paper" else {},
    )
    fold = learned(spec, blocks, seed=seed, offset=offset, scale=spread)
    content = written(fold)
    assert len(content) <= exchange.most_bytes(spec)
    assert exchange.read(content, spec).stored == state.store(fold.state())


@pytest.mark.parametrize("scale", ["running", "pooled", "none"])
@pytest.mark.parametrize("horizon", [None, 5.0])
def test_a_stream_that_drifts_far_and_mixes_scales_leaves_a_state_that_can_be_read(
    scale: Any, horizon: float | None
) -> None:
    spec = ModelSpec(
        inputs=6,
        hidden=[5],
        classes=["no", "yes"],
        scale=scale,
        learner="am-mem-paper",
        hyperparameters={"horizon": horizon},
    )
    fold = Fold(spec, device="cpu")
    draw = torch.Generator().manual_seed(0)
    for drift in [0.0, *[1e6] * 100, *[0.0] * 50]:
        x = (torch.randn(8, 6, generator=draw) + drift) * torch.logspace(-6, 6, 6)
        fold._known.learner.learn(x, torch.randint(2, (8,), generator=draw))
        fold._known.learner.learn(x / 7, torch.randint(2, (8,), generator=draw))
    assert exchange.read(written(fold), spec).stored == state.store(fold.state())


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[File], None]:
    def apply(file: File) -> None:
        file.tensors[name] = change(file.tensors[name].clone())

    return apply


def put(index: Any, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def apply(matrix: torch.Tensor) -> torch.Tensor:
        matrix[index] = value
        return matrix

    return apply


def manifest(**fields: Any) -> Callable[[File], None]:
    return lambda file: file.manifest.update(fields)


def spec_with(**fields: Any) -> Callable[[File], None]:
    return lambda file: file.manifest["spec"].update(fields)


def header_with(**fields: Any) -> Callable[[File], None]:
    return lambda file: file.manifest["header"].update(fields)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (lambda f: f.tensors.pop("B.1"), "tensors.B.1", "B.1"),
        (lambda f: f.tensors.update(C=torch.zeros(1)), "tensors.C", "C"),
        (tensor("W.1", torch.Tensor.double), "tensors.W.1.dtype", "F64"),
        (tensor("A.1", torch.Tensor.float), "tensors.A.1.dtype", "F32"),
        (tensor("samples", torch.Tensor.int), "tensors.samples.dtype", "I32"),
        (tensor("W.1", lambda W: W.T), "tensors.W.1.shape", [4, 5]),
        (tensor("W.1", lambda W: W.reshape(1, -1)), "tensors.W.1.shape", [1, 20]),
        (tensor("A.1", lambda A: A[:3, :3]), "tensors.A.1.shape", [3, 3]),
        (tensor("samples", lambda s: s.reshape(1)), "tensors.samples.shape", [1]),
        (tensor("W.2", put((1, 2), torch.nan)), "tensors.W.2.1.2", None),
        (tensor("B.1", put((0, 3), torch.inf)), "tensors.B.1.0.3", torch.inf),
        (tensor("moments.mean", put(1, -torch.inf)), "tensors.moments.mean.1", -torch.inf),
        (tensor("A.1", put((0, 2), 0.5)), "tensors.A.1.0.2", 0.5),
        (tensor("A.1", torch.neg), "tensors.A.1", "leading minor 1 is negative"),
        (tensor("A.1", put(([0, 3], [3, 0]), 1e9)), "tensors.A.1", None),
        (tensor("A.2", put((5, 5), -1.0)), "tensors.A.2", "leading minor 6 is negative"),
        (tensor("moments.count", put(0, -1.0)), "tensors.moments.count.0", -1.0),
        (tensor("moments.squares", put(2, -1e-9)), "tensors.moments.squares.2", -1e-9),
        (tensor("samples", torch.neg), "tensors.samples", -24),
        (tensor("samples", lambda s: s + 2**62), "tensors.samples", 24 + 2**62),
        (tensor("W.1", put((slice(None)), 3e38)), "tensors", None),
        (manifest(format=2), "manifest.format", 2),
        (manifest(format="1"), "manifest.format", "1"),
        (manifest(state_format=0), "manifest.state_format", 0),
        (manifest(entry="somewhere"), "manifest.entry", "somewhere"),
        (manifest(entries_applied=-1), "manifest.entries_applied", -1),
        (manifest(samples_learned=2**62), "manifest.samples_learned", 2**62),
        (manifest(samples_learned=1.0), "manifest.samples_learned", 1.0),
        (manifest(extra=1), "manifest.extra", 1),
        (lambda f: f.manifest.pop("entry"), "manifest.entry", None),
        (spec_with(inputs=4), "manifest.spec.inputs", 4),
        (spec_with(hidden=[5, 5]), "manifest.spec.hidden", [5, 5]),
        (spec_with(classes=["yes", "no"]), "manifest.spec.classes", ["yes", "no"]),
        (spec_with(classes=["no", "no"]), "manifest.spec.classes", ["no", "no"]),
        (spec_with(learner="am-mem", hyperparameters={}), "manifest.spec.learner", "am-mem"),
        (spec_with(scale="none"), "manifest.spec.scale", "none"),
        (spec_with(surprise=1), "manifest.spec.surprise", 1),
        (lambda f: f.manifest["spec"]["hyperparameters"].update(mu=7.0), "manifest.spec.hyperparameters", None),
        (header_with(learner="sgd"), "manifest.header", None),
        (header_with(classes=["no", "maybe"]), "manifest.header", None),
        (header_with(surprise=1), "manifest.header.surprise", 1),
        (header_with(hidden=[1_000_000, 1_000_000]), "manifest.header", None),
        (header_with(hidden=[1_000_000] * 64), "manifest.header", None),
        (lambda f: f.manifest["header"].pop("classes"), "manifest.header.classes", None),
    ],
)  # fmt: skip
def test_a_file_that_is_consistent_but_wrong_is_refused(change: Any, field: str, value: Any) -> None:
    error = refusal(changed(GOOD, change))
    assert error.field == field
    assert value is None or error.value == value
    assert error.message


@pytest.mark.parametrize("name", ["ratio.mass", "ratio.errors.mass", "temperature", "presence.ever"])
def test_no_sum_of_weights_of_the_default_learner_is_negative(name: str) -> None:
    spec = ModelSpec(inputs=3, hidden=[5, 4], classes=["no", "yes"])
    content = changed(written(learned(spec)), tensor(name, lambda t: torch.full_like(t, -1.0)))
    assert refusal(content, spec).field.startswith(f"tensors.{name}")


@pytest.mark.parametrize("name", ["A.1", "W.2", "moments.count", "samples"])
def test_a_tensor_that_was_changed_does_not_match_the_digest(name: str) -> None:
    content = changed(GOOD, tensor(name, lambda t: t * 2), digest=False)
    error = refusal(content)
    assert (error.field, error.value) == ("manifest.digest", File.of(GOOD).manifest["digest"])


def test_a_manifest_that_was_changed_does_not_match_its_checksum() -> None:
    error = refusal(changed(GOOD, manifest(samples_learned=25), checksum=False))
    assert error.field == "manifest.checksum"


def metadata(text: Any) -> bytes:
    """A file of no tensors with this manifest."""
    return raw({"__metadata__": {exchange.METADATA_KEY: text}})


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"\x80\x04.", "body"),
        (b"PK\x03\x04" + bytes(100), "header length"),
        (GOOD[:7], "body"),
        (GOOD[:100], "header length"),
        (GOOD[:-1], "body"),
        (GOOD + b"\0", "body"),
        ((2**63).to_bytes(8, "little") + GOOD[8:], "header length"),
        ((10**6).to_bytes(8, "little") + b" " * 10**6, "header length"),
        (raw(b"[" * 10_000), "body"),
        (raw(b'{"a":' * 10_000), "body"),
        (raw(b"\xff\xfe{}"), "body"),
        (raw({}), "manifest"),
        (raw({"__metadata__": {"other": "x"}}), "manifest"),
        (raw({"__metadata__": {exchange.METADATA_KEY: 1}}), "body"),
        (metadata("[" * 10_000), "manifest"),
        (metadata("{}"), "manifest.format"),
        (metadata("[1]"), "manifest"),
        (metadata('{"format": NaN}'), "manifest"),
        (metadata('{"format": 1, "format": 2}'), "manifest"),
        (metadata('{"format": ' + "9" * 10_000 + "}"), "manifest"),
        (raw({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "body"),
        (raw({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)), "body"),
        (raw({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)), "body"),
        (raw({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)), "body"),
        (raw({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "xy"}, bytes(4)), "body"),
        (raw({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**63]}}, bytes(4)), "body"),
        (raw({"x": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "body"),
    ],
)
def test_bytes_that_are_no_snapshot_file_are_refused(content: bytes, field: str) -> None:
    assert refusal(content).field == field


def test_a_name_that_comes_twice_in_the_header_is_refused() -> None:
    header, rest = GOOD[8:].split(b'"samples":', 1)
    twice = header + b'"samples":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"samples":' + rest
    length = int.from_bytes(GOOD[:8], "little") + len(twice) - len(GOOD) + 8
    assert refusal(length.to_bytes(8, "little") + twice).field in ("header", "body")


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=400)
def test_flipped_bytes_are_refused_or_change_nothing_that_matters(flips: list[tuple[int, int]]) -> None:
    content = bytearray(GOOD)
    for place, mask in flips:
        content[place] ^= mask
    try:
        imported = exchange.read(bytes(content), SPEC)
    except Invalid as error:
        json.dumps(error.as_json(), allow_nan=False)
    else:
        assert imported == exchange.read(GOOD, SPEC)


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(deadline=None, max_examples=200)
def test_random_bytes_are_refused(data: bytes, header: int) -> None:
    for content in (data, raw(data), header.to_bytes(8, "little") + data):
        refusal(content)
