from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
import torch

from amstream_client import Client
from amstream_client.testing import FakeService
from benchmarks.baselines import MostFrequent
from benchmarks.prequential import prequential
from benchmarks.remote_learner import RemoteLearner

X = torch.zeros(7, 2)
Y = torch.tensor([1, 2, 2, 1, 1, 0, 0])


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def remote(fake: FakeService) -> RemoteLearner:
    client = Client(key=fake.key, transport=fake.transport())
    client.create_model("toy", {"inputs": 2, "classes": [0, 1, 2]})
    return RemoteLearner(client, "toy")


def test_a_model_behind_http_runs_prequentially_like_one_in_process(remote: RemoteLearner) -> None:
    # the fake learns class frequencies
    assert list(prequential(remote, X, Y, block=3)) == list(prequential(MostFrequent(3), X, Y, block=3))
    assert remote.samples_posted == remote.client.model("toy").samples_learned == 7


def test_predictions_wait_for_the_entry_posted_last(remote: RemoteLearner, fake: FakeService) -> None:
    list(prequential(remote, X, Y, block=3))
    predictions = [request.url for request in fake.requests if request.url.path.endswith("predictions")]
    assert [url.params.get("min_entry") for url in predictions] == [None, "1-0", "2-0"]


def test_a_repeated_post_is_answered_as_before_and_learned_once(remote: RemoteLearner) -> None:
    remote.learn(X, Y)
    assert remote.repeat_last() == replace(remote.posts[-1].accepted, repeated=True)
    assert remote.client.model("toy").samples_learned == remote.samples_posted == 7


def test_a_repeat_survives_a_service_that_is_down_for_a_while(fake: FakeService) -> None:
    down = iter([True, True, False])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("samples") and learner.posts and next(down):
            raise httpx.ConnectError("refused")
        return fake.answer(request)

    client = Client(key=fake.key, transport=httpx.MockTransport(answer), sleep=lambda seconds: None)
    client.create_model("toy", {"inputs": 2, "classes": [0, 1, 2]})
    learner = RemoteLearner(client, "toy")
    learner.learn(X, Y)
    assert learner.repeat_last() == replace(learner.posts[-1].accepted, repeated=True)
    assert client.model("toy").samples_learned == 7
