"""Snapshot files made by somebody who knows the format and wishes us ill: refused in words, or as good as any other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from service import exchange, state
from service.fold import Fold
from service.problems import Invalid
from service.spec import ModelSpec
from tests.service.snapshot_files import File, learned, written

CLOSED = ModelSpec(learner="am-mem-paper", inputs=3, hidden=[5, 4], classes=["no", "yes"])
OPEN = ModelSpec(inputs=3, hidden=[5], classes=[1, 2], max_classes=5)
VALUES = ModelSpec(task="regression", inputs=3, hidden=[5], targets=2)


def values_learned() -> Fold:
    fold = Fold(VALUES, device="cpu")
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        fold._known.learner.learn(torch.randn(8, 3, generator=draw), torch.randn(8, 2, generator=draw))
    return fold


FOLDS = {"closed": learned(CLOSED), "open": learned(OPEN), "values": values_learned()}
FILES = {name: written(fold) for name, fold in FOLDS.items()}

numbers = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**40, 0.5, -0.0, 1e308, 5e-324, 1e-9]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.one_of(
    st.sampled_from(
        ["", "\0", "\ud800", "NaN", "am-mem", "never-forget", "running", "none", "0-0", "9" * 41, "x" * 300]
    ),
    st.text(max_size=20),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


DTYPES = [torch.float32, torch.float64, torch.int64, torch.float16, torch.uint8, torch.bool]
FLOATS = (torch.float32, torch.float64)
NUMBERS = [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, 1e-20, 0.0, -1.0, 2.0**62, 1e15]


@st.composite
def tensors(draw: st.DrawFn, old: Tensor) -> Tensor:
    """One like the old, with one thing or more wrong with it."""
    new = old.clone()
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.integers(0, 5)):
            case 0:
                new = new.to(draw(st.sampled_from(DTYPES)))
            case 1:
                shape = draw(st.lists(st.integers(0, 4), max_size=3))
                new = torch.zeros(shape, dtype=new.dtype)
            case 2 if new.dtype in FLOATS:
                new = new * draw(st.sampled_from([-1.0, 0.0, 1e30, 1e-30, 1e200]))
            case 3 if new.numel() and new.dtype in FLOATS:
                place = tuple(draw(st.integers(0, size - 1)) for size in new.shape)
                new[place] = draw(st.sampled_from(NUMBERS))
            case 4 if new.dtype in FLOATS:
                new = torch.full_like(new, draw(st.sampled_from(NUMBERS)))
            case _ if new.dtype is torch.int64:
                new = torch.full_like(new, draw(st.sampled_from([-(2**63), -1, 0, 1, 2**62, 2**63 - 1])))
    return new


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name of a fold, and a file for its model that was changed and sealed again."""
    name = draw(st.sampled_from(sorted(FILES)))
    file = File.of(FILES[name])
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            tensor = draw(st.sampled_from(sorted(file.tensors)))
            file.tensors[tensor] = draw(tensors(file.tensors[tensor]))
        else:
            part = draw(st.sampled_from([("header",), ("spec",), ()]))
            within = (
                places(file.manifest[part[0]], part) if part and part[0] in file.manifest else places(file.manifest)
            )
            put(file.manifest, draw(st.sampled_from([path for path in within if path])), draw(values))
    return name, file.sealed(digest=isinstance(file.manifest.get("header"), dict))


def harmless(fold: Fold, imported: exchange.Imported) -> None:
    """Another fold takes the state over, predicts and learns on; what comes of it can be stored."""
    other = Fold(fold.spec, device="cpu")
    other.restore(state.load(imported.stored), imported.position)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))
    predicted = other.version().predictor(x)
    assert predicted.isfinite().all()
    other._known.learner.learn(x, torch.zeros(8, 2) if fold.spec.targets else torch.zeros(8, dtype=torch.int64))
    after = other._known.learner.state_dict()
    assert all(tensor.isfinite().all() for tensor in after.values() if tensor.is_floating_point())


def check(name: str, content: bytes) -> None:
    fold = FOLDS[name]
    try:
        imported = exchange.read(content, fold.spec)
    except Invalid as error:
        json.dumps(error.as_json(), allow_nan=False, ensure_ascii=False).encode()  # as it is sent
    else:
        harmless(fold, imported)


@pytest.mark.long
@pytest.mark.timeout(900)
@given(hostile())
@settings(deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck))
def test_a_file_that_was_changed_on_purpose_is_refused_or_harmless(made: tuple[str, bytes]) -> None:
    check(*made)
