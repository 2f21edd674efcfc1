"""Labels that come later, on the command line; the contract test does the same with the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

from amstream_client.testing import FakeService

Run = Callable[..., Result]


@pytest.fixture
def labelling(service: FakeService) -> tuple[httpx.MockTransport, list[dict[str, object]]]:
    """A service that takes labels, and what it was sent."""
    sent: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/labels"):
            return service.answer(request)
        body = json.loads(request.content)
        sent.append(body)
        labelled = [
            {"id": one, "entry": "7-0", "repeated": place == 0, "corrected": False}
            for place, one in enumerate(body["labels"])
        ]
        return httpx.Response(202, json={"labelled": labelled})

    return httpx.MockTransport(answer), sent


def test_labels_of_a_file_are_sent_in_batches_and_counted(
    run: Run, labelling: tuple[httpx.MockTransport, list[dict[str, object]]], tmp_path: Path
) -> None:
    transport, sent = labelling
    (tmp_path / "labels.csv").write_text("label,id\na,1-x\nb,2-x\na,3-x\n")
    result = run("tracked", "labels", "iris", tmp_path / "labels.csv", "--batch", 2, "--weight", 3, transport=transport)
    assert result.exit_code == 0, result.stderr
    assert sent == [
        {"labels": {"1-x": "a", "2-x": "b"}, "weight": 3, "correct": False},
        {"labels": {"3-x": "a"}, "weight": 3, "correct": False},
    ]
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["new", "1"],
        ["corrected", "0"],
        ["repeated", "2"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\n1-x\n", "needs a header with the columns id and label"),
        ("id,label\n1-x,a\n2-x,other\n", "row 3: 'other' is not one of the model's classes"),
        ("id,label\n1-x\n", "row 2: the label is missing"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_sent(
    run: Run, labelling: tuple[httpx.MockTransport, list[dict[str, object]]], tmp_path: Path, text: str, message: str
) -> None:
    transport, sent = labelling
    (tmp_path / "labels.csv").write_text(text)
    result = run("tracked", "labels", "iris", tmp_path / "labels.csv", transport=transport)
    assert (result.exit_code, sent) == (1, [])
    assert message in result.stderr


def test_a_label_that_is_none_of_the_models_is_a_usage_error(run: Run) -> None:
    assert run("tracked", "label", "iris", "1-x", "other").exit_code == 2


@pytest.mark.parametrize("weight", ["-1", "1e9", "inf", "nan"])
def test_a_weight_that_the_service_does_not_take_is_a_usage_error(run: Run, service: FakeService, weight: str) -> None:
    assert run("tracked", "label", "iris", "1-x", "a", "--weight", weight).exit_code == 2
    assert service.requests == []
