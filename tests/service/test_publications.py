"""The newest version of every model in a process: never an older one, and whoever waits is woken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from service.entry_id import EntryId
from service.fold import Fold
from service.publications import Publications, Published
from service.spec import ModelSpec

VERSION = Fold(ModelSpec(inputs=1, hidden=[2], classes=[0, 1]), device="cpu").version()
PATIENCE_S = 20.0


def published(number: int, *, epoch: int = 1) -> Published:
    return Published(
        epoch, replace(VERSION, model_version=number, applied_entry=EntryId(number, 0), samples_learned=number)
    )


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [
        (published(1), published(2), 2),
        (published(2), published(1), 2),
        (published(2, epoch=1), published(1, epoch=2), 2),
        (published(2, epoch=2), published(3, epoch=1), 2),
        (published(2, epoch=1), published(2, epoch=2), 2),
        (published(2, epoch=0), published(3, epoch=5), 3),
    ],
)
def test_neither_version_nor_epoch_goes_back(first: Published, second: Published, current: int) -> None:
    publications = Publications()
    publications.publish("m", first)
    publications.publish("m", second)
    version = publications.current("m")
    assert version is not None
    assert version.model_version == current


def test_models_do_not_meet() -> None:
    publications = Publications()
    publications.publish("m", published(5))
    assert publications.current("n") is None


def test_a_forgotten_model_stays_forgotten_when_its_learner_publishes_late() -> None:
    publications = Publications()
    publications.publish("m", published(1))
    publications.forget("m")
    publications.publish("m", published(2, epoch=9))
    assert publications.current("m") is None


def test_many_threads_never_take_a_version_back() -> None:
    publications = Publications()
    seen: list[int] = []

    def publish(start: int) -> None:
        for number in range(start, 2_000, 4):
            publications.publish("m", published(number))

    threads = [threading.Thread(target=publish, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        version = publications.current("m")
        seen.append(version.model_version if version else -1)
    assert seen == sorted(seen)
    version = publications.current("m")
    assert version is not None
    assert version.model_version == 1_999


def waiting_while(happens: Callable[[Publications], object], *, timeout_s: float = PATIENCE_S) -> list[bool]:
    """What two who wait for entry 5 of model m are told, while something happens in another thread."""
    publications = Publications()

    async def run() -> list[bool]:
        publications.attach(asyncio.get_running_loop())
        waits = [asyncio.create_task(publications.wait_for("m", EntryId(5, 0), timeout_s=timeout_s)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(happens, publications)
        answers = list(await asyncio.gather(*waits))
        assert not vars(publications)["_waiting"]
        return answers

    return asyncio.run(run())


def test_all_who_wait_are_woken_from_another_thread() -> None:
    def happens(publications: Publications) -> None:
        publications.publish("other", published(9))
        publications.publish("m", published(4))
        publications.publish("m", published(5))

    assert waiting_while(happens) == [True, True]


def test_a_later_version_includes_the_entry() -> None:
    assert waiting_while(lambda publications: publications.publish("m", published(7))) == [True, True]


def test_an_older_version_does_not_and_waiting_is_bounded() -> None:
    assert waiting_while(lambda p: p.publish("m", published(4)), timeout_s=0.01) == [False, False]


def test_publishing_needs_no_event_loop() -> None:
    publications = Publications()
    publications.publish("m", published(1))
    assert publications.current("m") is not None
