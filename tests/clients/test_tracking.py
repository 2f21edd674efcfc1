"""Tracked predictions, and regressions, as the client speaks of them; the contract test does so with the service."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from amstream_client import Client, ConnectionFailed, Gone, UnknownPrediction, WrongTask
from amstream_client.testing import problem

ORIGIN = {"model_version": 3, "applied_entry": "3-0"}
CLASSES = {"labels": ["a"], "probabilities": [[0.75, 0.25]], "classes": ["a", "b"], **ORIGIN}


class Answers:
    """The same answer to all requests, which it keeps."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    def client(self) -> Client:
        return Client(transport=httpx.MockTransport(self._answer), sleep=lambda seconds: None, retries=2)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def sent(self) -> Any:
        return json.loads(self.requests[-1].content)


def test_tracked_predictions_have_ids() -> None:
    answers = Answers(httpx.Response(200, json={**CLASSES, "ids": ["1-a"]}))
    assert answers.client().predict("m", [[1, 2]], track=True).ids == ["1-a"]
    assert answers.requests[-1].url.params["track"] == "true"


def test_a_prediction_whose_answer_is_lost_is_tracked_anew() -> None:
    answers = Answers(httpx.ReadError("reset"))
    with pytest.raises(ConnectionFailed):
        answers.client().predict("m", [[1, 2]], track=True)
    assert len(answers.requests) == 3


@pytest.mark.parametrize("label", ["a", 1, True, 2.5, [1.0, 2.0]])
def test_a_label_may_be_whatever_a_model_learns(label: Any) -> None:
    answers = Answers(httpx.Response(202, json={"id": "1-a", "entry": "4-0", "repeated": False, "corrected": True}))
    assert answers.client().label("m", "1-a", label, weight=2, correct=True).corrected
    assert answers.sent == {"label": label, "weight": 2, "correct": True}
    assert answers.requests[-1].url.path == "/v1/models/m/predictions/1-a/label"


def test_a_lost_answer_to_a_label_is_asked_for_again() -> None:
    answers = Answers(httpx.ReadError("reset"))
    with pytest.raises(ConnectionFailed):
        answers.client().label_many("m", {"1-a": "a", "2-b": "b"})
    assert len(answers.requests) == 3
    assert answers.sent["labels"] == {"1-a": "a", "2-b": "b"}


def test_unknown_and_forgotten_predictions_are_told_apart() -> None:
    with pytest.raises(UnknownPrediction):
        Answers(problem(404, "unknown-prediction", "none")).client().tracked("m", "1-a")
    with pytest.raises(Gone):
        Answers(problem(410, "gone", "too late")).client().tracked("m", "1-a")


def test_a_regression_answers_values() -> None:
    answers = Answers(httpx.Response(200, json={"values": [1.5, 2.5], **ORIGIN}))
    assert answers.client().predict_values("m", [[1], [2]]).values == [1.5, 2.5]
    with pytest.raises(WrongTask, match="call predict_values"):
        answers.client().predict("m", [[1]])
    with pytest.raises(WrongTask, match="call predict"):
        Answers(httpx.Response(200, json=CLASSES)).client().predict_values("m", [[1]])
