from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from amstream_client import Client, ConnectionFailed, NotFound, Unavailable
from amstream_client.testing import FakeService, problem

Failure = Exception | httpx.Response


class Flaky:
    """Fails as told, one failure a request, then passes on to the service."""

    def __init__(self, service: FakeService, *failures: Failure, carry_out: bool = False) -> None:
        self.service = service
        self.failures = list(failures)
        self.carry_out = carry_out  # also the requests whose answer is lost
        self.seen: list[httpx.Request] = []
        self.slept: list[float] = []

    def client(self, retries: int = 5) -> Client:
        transport = httpx.MockTransport(self._answer)
        return Client(key=self.service.key, retries=retries, transport=transport, sleep=self.slept.append)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if not self.failures:
            return self.service.answer(request)
        if self.carry_out:
            self.service.answer(request)
        failure = self.failures.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure


def unavailable(status: int = 503, **headers: str) -> httpx.Response:
    response = problem(status, "unavailable", "come back later")
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def test_a_retry_keeps_key_and_payload_so_nothing_is_learned_twice(service: FakeService) -> None:
    flaky = Flaky(service, httpx.ReadError("reset"), unavailable(), unavailable(429), carry_out=True)
    with flaky.client() as client:
        assert client.learn("iris", [[1, 2]], ["a"]).accepted == 1
    assert len(flaky.seen) == 4
    assert len({(request.headers["Idempotency-Key"], request.content) for request in flaky.seen}) == 1
    assert service.models["iris"].y == ["a"]


def test_the_answer_to_another_post_is_not_taken_for_ones_own(service: FakeService) -> None:
    another = httpx.Response(
        202, json={"entries": ["1-0"], "accepted": 1}, headers={"Idempotency-Key": "another post's"}
    )
    flaky = Flaky(service, another)
    with flaky.client() as client:
        assert client.learn("iris", [[1, 2], [3, 4]], ["a", "b"]).accepted == 2
    assert len(flaky.seen) == 2
    assert service.models["iris"].y == ["a", "b"]


def test_two_calls_have_two_keys(client: Client, service: FakeService) -> None:
    client.learn("iris", [[1, 2]], ["a"])
    client.learn("iris", [[1, 2]], ["a"])
    assert service.models["iris"].y == ["a", "a"]


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("slow"), httpx.ReadError("reset"), unavailable()])
def test_a_key_that_may_have_been_made_is_not_asked_for_again(service: FakeService, failure: Failure) -> None:
    flaky = Flaky(service, failure)
    with flaky.client() as client, pytest.raises((ConnectionFailed, Unavailable)):
        client.create_key("k", ["learn"])
    assert len(flaky.seen) == 1
    assert flaky.slept == []


def test_a_lost_answer_says_that_the_request_may_have_been_carried_out(service: FakeService) -> None:
    flaky = Flaky(service, httpx.ReadTimeout("slow"))
    with flaky.client() as client, pytest.raises(ConnectionFailed, match="may have been carried out") as caught:
        client.create_key("k", ["learn"])
    assert caught.value.sent


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("slow"), httpx.ReadError("reset"), unavailable()])
def test_a_command_whose_answer_was_lost_is_sent_again_under_its_key_and_carried_out_once(
    service: FakeService, failure: Failure
) -> None:
    flaky = Flaky(service, failure, carry_out=True)
    with flaky.client() as client:
        assert client.create_snapshot("iris", "s").name == "s"
        flaky.failures = [failure]
        restored = client.restore("iris", "s")
        flaky.failures = [failure]
        assert client.set_hyperparameters("iris", {"mu": 0.5})["mu"] == 0.5
    keys = [request.headers["Idempotency-Key"] for request in flaky.seen]
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == 3
    assert (restored.model_version, service.models["iris"].version) == (1, 2)


def test_an_import_whose_answer_was_lost_is_sent_again(service: FakeService, tmp_path: Path) -> None:
    flaky = Flaky(service)
    with flaky.client() as client:
        client.create_snapshot("iris", "s")
        client.export_snapshot("iris", "s", tmp_path / "file")
        lost = Flaky(service, httpx.ReadTimeout("slow"), carry_out=True)
        with lost.client() as other:
            assert other.import_snapshot("iris", "again", tmp_path / "file").name == "again"
        assert len(lost.seen) == 2
        assert [one.name for one in client.snapshots("iris")] == ["s", "again"]


def test_a_command_that_was_never_sent_is_tried_again(service: FakeService) -> None:
    flaky = Flaky(service, httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"))
    with flaky.client() as client:
        assert client.create_snapshot("iris", "s").name == "s"
    assert len(flaky.seen) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.model("iris"),
        lambda client: client.create_model("iris", {"inputs": 2, "classes": ["a", "b"]}),
        lambda client: client.delete_model("iris"),
        lambda client: client.predict("iris", [[1, 2]]),
    ],
)
def test_what_may_be_repeated_is_tried_again_after_a_lost_answer(
    service: FakeService, call: Callable[[Client], object]
) -> None:
    flaky = Flaky(service, httpx.RemoteProtocolError("disconnected"))
    with flaky.client() as client:
        call(client)
    assert len(flaky.seen) == 2


def test_pauses_double_with_jitter(service: FakeService) -> None:
    flaky = Flaky(service, *[httpx.ConnectError("refused")] * 4)
    with flaky.client() as client:
        client.models()
    assert len(flaky.slept) == 4
    for pause, longest in zip(flaky.slept, [0.1, 0.2, 0.4, 0.8], strict=True):
        assert longest / 2 <= pause <= longest


def test_the_pause_is_at_least_what_retry_after_asks_for(service: FakeService) -> None:
    flaky = Flaky(service, unavailable(retry_after="7"), unavailable(429, retry_after="2"))
    with flaky.client() as client:
        client.models()
    assert 7.0 <= flaky.slept[0] <= 7.1
    assert 2.0 <= flaky.slept[1] <= 2.2


def test_a_pause_too_long_to_sit_through_is_left_to_the_caller(service: FakeService) -> None:
    flaky = Flaky(service, unavailable(retry_after="3600"))
    with flaky.client() as client, pytest.raises(Unavailable) as caught:
        client.models()
    assert caught.value.retry_after_s == 3600
    assert flaky.slept == []


def test_a_retry_after_that_is_no_number_of_seconds_is_ignored(service: FakeService) -> None:
    flaky = Flaky(service, unavailable(retry_after="Wed, 21 Oct 2026 07:28:00 GMT"))
    with flaky.client() as client:
        client.models()
    assert flaky.slept[0] <= 0.1


@pytest.mark.parametrize("retries", [0, 3])
def test_retries_are_bounded(service: FakeService, retries: int) -> None:
    flaky = Flaky(service, *[httpx.ConnectError("refused")] * 10)
    with flaky.client(retries) as client, pytest.raises(ConnectionFailed, match="refused"):
        client.models()
    assert len(flaky.seen) == retries + 1


def test_a_refusal_is_final(service: FakeService) -> None:
    flaky = Flaky(service)
    with flaky.client() as client, pytest.raises(NotFound):
        client.model("nobody")
    assert len(flaky.seen) == 1
