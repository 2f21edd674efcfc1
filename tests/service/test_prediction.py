"""Predictions by one immutable version."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from service.entry_id import ORIGIN, EntryId
from service.fold import Fold
from service.prediction import SMALL_BYTES, is_small
from service.problems import FieldError, Invalid, Unavailable
from service.services import Services
from service.settings import Settings
from service.spec import ModelSpec
from service.version import Version

SPEC = ModelSpec(inputs=2, hidden=[4], classes=["a", "b", "c"])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"role": "api", "wait_s": 0.01})


def inputs(rows: int = 3) -> NDArray[np.float32]:
    return np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)


def test_labels_are_those_of_the_largest_probabilities(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)
    predicted = asyncio.run(services.prediction.predict(model, inputs, min_entry=None))
    assert predicted.probabilities.shape == (3, 3)
    assert predicted.probabilities.dtype == np.float32
    assert predicted.labels == [SPEC.classes[index] for index in predicted.probabilities.argmax(axis=1)]
    assert (predicted.version.model_version, predicted.version.applied_entry) == (0, ORIGIN)


def test_inputs_are_made_off_the_event_loop(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)
    made_in: list[threading.Thread] = []

    def make() -> NDArray[np.float32]:
        made_in.append(threading.current_thread())
        return inputs()

    asyncio.run(services.prediction.predict(model, make, min_entry=None))
    assert made_in[0] is not threading.main_thread()


@pytest.mark.parametrize(("size", "on_loop"), [(SMALL_BYTES, True), (SMALL_BYTES + 1, False), (None, False)])
def test_only_what_is_small_is_read_on_the_event_loop(services: Services, size: int | None, on_loop: bool) -> None:
    model, _ = services.catalog.create("m", SPEC)
    made_in: list[threading.Thread] = []

    def make() -> NDArray[np.float32]:
        made_in.append(threading.current_thread())
        return inputs()

    asyncio.run(services.prediction.predict(model, make, min_entry=None, size=size))
    assert (made_in[0] is threading.main_thread()) == on_loop


def test_only_a_small_net_for_few_rows_is_answered_on_the_event_loop(services: Services) -> None:
    def version(hidden: list[int]) -> Version:
        return Fold(SPEC.changed(hidden=hidden), device="cpu").version()

    assert is_small(version([4]), 3)
    assert is_small(version([100, 100]), 10)
    assert not is_small(version([100, 100]), 100)
    assert not is_small(version([1000, 1000]), 1)
    assert not is_small(version([1] * 64), 1)


def test_what_is_wrong_with_the_inputs_is_raised(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)

    def bad() -> NDArray[np.float32]:
        raise Invalid(FieldError("x", 1, "is wrong"))

    with pytest.raises(Invalid, match="x = 1: is wrong"):
        asyncio.run(services.prediction.predict(model, bad, min_entry=None))


def test_an_entry_that_is_not_applied_in_time_is_unavailable(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)
    with pytest.raises(Unavailable) as caught:
        asyncio.run(services.prediction.predict(model, inputs, min_entry=EntryId(1, 0)))
    assert (caught.value.kind, caught.value.retry_after_s) == ("not-applied-yet", 1)
    assert "1-0" in caught.value.detail


def test_the_origin_is_included_in_every_version(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)
    assert asyncio.run(services.prediction.predict(model, inputs, min_entry=ORIGIN)).labels


def test_predictions_at_the_same_time_agree(services: Services) -> None:
    model, _ = services.catalog.create("m", SPEC)

    async def many() -> list[bytes]:
        calls = (services.prediction.predict(model, inputs, min_entry=None) for _ in range(20))
        return [predicted.probabilities.tobytes() for predicted in await asyncio.gather(*calls)]

    assert len(set(asyncio.run(many()))) == 1
