from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import Result

from amstream_client import AmstreamError, Client, DeadLetter, Unavailable
from amstream_client.cli.waiting import STILL_S, look_until_learned, wait_until_learned
from amstream_client.testing import FakeService, problem

Run = Callable[..., Result]

ROWS = "width,height,kind\n" + "".join(f"{i},{i + 1},{'ab'[i % 2]}\n" for i in range(10))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.csv"
    path.write_text(ROWS)
    return path


def stop_at_post(service: FakeService, number: int, failure: BaseException | httpx.Response) -> httpx.MockTransport:
    """The service, until a failure meets the given post of samples, which it carries out first."""
    posts = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        response = service.answer(request)
        posts += request.method == "POST"
        if posts == number:
            if isinstance(failure, BaseException):
                raise failure
            return failure
        return response

    return httpx.MockTransport(answer)


def test_a_csv_file_is_learned_in_its_order(run: Run, service: FakeService, file: Path) -> None:
    result = run("learn", "iris", file, "--label", "kind", "--batch", 4)
    assert (result.exit_code, result.stdout) == (0, "10 samples accepted, entries 1-0 to 3-0\n"), result.stderr
    assert service.models["iris"].x == [[i, i + 1] for i in range(10)]
    assert service.models["iris"].y == ["a", "b"] * 5
    assert len([r for r in service.requests if r.method == "POST"]) == 3


def test_an_npz_file_is_learned_with_its_weights(run: Run, service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "iris.npz"
    np.savez(path, x=np.array([[1, 2], [3, np.nan]]), y=["a", "b"], weight=[1, 0.5])
    result = run("learn", "iris", path, "--json")
    assert json.loads(result.stdout) == {
        "model": "iris",
        "accepted": 2,
        "repeated": 0,
        "last_entry": "1-0",
        "entries": ["1-0"],
        "learned": False,
        "dead_letters": [],
    }
    assert service.models["iris"].weight == [1, 0.5]


def test_every_entry_of_a_file_is_told(run: Run, file: Path) -> None:
    told = json.loads(run("learn", "iris", file, "--batch", 4, "--wait", "--json").stdout)
    assert (told["entries"], told["last_entry"]) == (["1-0", "2-0", "3-0"], "3-0")


def test_learning_a_file_again_learns_nothing_twice_and_says_so(run: Run, service: FakeService, file: Path) -> None:
    transport = stop_at_post(service, 2, KeyboardInterrupt())
    assert run("learn", "iris", file, "--batch", 4, transport=transport).exit_code == 130
    assert run("learn", "iris", file, "--batch", 4).stdout == (
        "10 samples accepted, 8 of them before, entries 1-0 to 3-0\n"
    )
    assert json.loads(run("learn", "iris", file, "--batch", 4, "--json").stdout)["repeated"] == 10
    assert len(service.models["iris"].y) == 10


@pytest.mark.parametrize("options", [["--pass", "2"], ["--batch", "5"]])
def test_another_pass_or_batch_size_is_learned_on_purpose(
    run: Run, service: FakeService, file: Path, options: list[str]
) -> None:
    run("learn", "iris", file)
    run("learn", "iris", file, *options)
    assert len(service.models["iris"].y) == 20


def test_an_interrupted_run_says_how_far_it_got_and_goes_on_from_there(
    run: Run, service: FakeService, file: Path
) -> None:
    transport = stop_at_post(service, 2, KeyboardInterrupt())
    interrupted = run("learn", "iris", file, "--batch", 4, transport=transport)
    assert interrupted.exit_code == 130
    assert interrupted.stdout == ""
    assert interrupted.stderr == (
        "interrupted: 4 samples accepted; the same command on the same file goes on from there\n"
    )
    assert run("learn", "iris", file, "--batch", 4).exit_code == 0
    assert service.models["iris"].x == [[i, i + 1] for i in range(10)]


def test_a_failure_half_way_says_how_far_it_got(run: Run, service: FakeService, file: Path) -> None:
    transport = stop_at_post(service, 2, problem(403, "forbidden", "the key was revoked"))
    result = run("learn", "iris", file, "--batch", 4, transport=transport)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the key was revoked (4 samples accepted; ")
    assert result.stderr.count("\n") == 1


def test_nothing_is_sent_of_a_file_with_a_bad_row(run: Run, service: FakeService, file: Path) -> None:
    file.write_text(ROWS + "1,2,c\n")
    result = run("learn", "iris", file, "--batch", 4)
    assert (result.exit_code, service.models["iris"].y) == (1, [])
    assert result.stderr == f"error: {file}, row 12, column 'kind': 'c' is not one of the model's classes\n"


def test_a_batch_that_the_service_refuses_is_named_by_its_rows(run: Run, service: FakeService, file: Path) -> None:
    wrong = [{"field": "samples.1.x.0", "value": 1e16, "message": "is beyond 1e15"}]
    transport = stop_at_post(service, 1, problem(422, "invalid", "the samples are invalid", wrong))
    result = run("learn", "iris", file, "--batch", 4, transport=transport)
    assert result.stderr.startswith(f"error: {file}, rows 2 to 5: the samples are invalid; samples.1.x.0 = 1e+16")


def test_a_file_without_labels_cannot_be_learned(run: Run, file: Path) -> None:
    file.write_text("1,2\n")
    result = run("learn", "iris", file)
    assert (result.exit_code, result.stderr) == (1, f"error: {file}: has no labels\n")


def test_wait_returns_once_the_last_entry_is_learned(run: Run, service: FakeService, file: Path) -> None:
    result = run("learn", "iris", file, "--batch", 4, "--wait")
    assert (result.exit_code, result.stdout) == (0, "10 samples learned, entries 1-0 to 3-0\n")
    [waited] = [request for request in service.requests if request.url.path.endswith("/predictions")]
    assert waited.url.params["min_entry"] == "3-0"


def test_a_key_that_may_learn_alone_waits_by_how_far_the_model_got(run: Run, service: FakeService, file: Path) -> None:
    applied = iter(["2-5", "3-0"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/predictions"):
            return problem(403, "forbidden", "the key lacks the scope 'predict'")
        response = service.answer(request)
        if request.method == "GET" and request.url.path.endswith("/iris") and service.models["iris"].y:
            return httpx.Response(200, json=response.json() | {"applied_entry": next(applied)})
        return response

    result = run("learn", "iris", file, "--batch", 4, "--wait", transport=httpx.MockTransport(answer))
    assert (result.exit_code, result.stdout) == (0, "10 samples learned, entries 1-0 to 3-0\n"), result.stderr
    assert next(applied, None) is None


def test_looking_gives_up_when_the_learner_stands_still(client: Client) -> None:
    client.learn("iris", [[1, 2]], ["a"])
    pauses: list[float] = []
    with pytest.raises(AmstreamError, match="stands still at entry 1-0, before 10-0"):
        look_until_learned(client, "iris", "10-0", sleep=pauses.append)
    assert STILL_S < sum(pauses) < STILL_S + 2


def test_waiting_goes_on_while_the_learner_does_and_gives_up_when_it_stands_still(service: FakeService) -> None:
    versions = iter([1, 2, 3, 3])
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(request.url.params["min_entry"])
            return problem(503, "not-applied-yet", "entry 9-0 is not applied yet")
        service.models["iris"].version = next(versions)
        return service.answer(request)

    transport = httpx.MockTransport(answer)
    with (
        Client(key=service.key, transport=transport, retries=0) as client,
        pytest.raises(Unavailable, match="not applied yet"),
    ):
        wait_until_learned(client, "iris", 2, "9-0")
    assert asked == ["9-0"] * 4


def test_entries_that_could_not_be_learned_are_told_to_who_waits(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    file = tmp_path / "iris.csv"
    file.write_text("1,2,a\n3,4,b\n5,6,a\n")
    service.models["iris"].dead_letters = [DeadLetter("2-0", "not finite", 1, 80), DeadLetter("9-0", "other", 1, 80)]
    result = run("learn", "iris", file, "--batch", 1, "--wait")
    assert result.exit_code == 1
    assert "3 samples accepted" in result.stdout
    assert "1 of 3 entries could not be learned: `amstream dead-letters iris`" in result.stderr
    told = json.loads(run("learn", "iris", file, "--batch", 1, "--wait", "--json").stdout)
    assert (told["learned"], told["dead_letters"]) == (False, ["2-0"])


def test_a_header_that_is_told_makes_no_other_samples(run: Run, service: FakeService, file: Path) -> None:
    assert run("learn", "iris", file).exit_code == 0
    again = json.loads(run("learn", "iris", file, "--header", "--json").stdout)
    assert (again["accepted"], again["repeated"]) == (10, 10)
    assert len(service.models["iris"].y) == 10
