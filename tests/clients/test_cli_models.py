from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

from amstream_client.testing import FakeService

Run = Callable[..., Result]


def test_a_model_is_made_from_options(run: Run, service: FakeService) -> None:
    words = "models create digits --inputs 64 --classes 0,1,2 --hidden 100,50 --learner am-mem --scale none --seed 7"
    words += " --block-size 32 --hyperparameter mu=0.1 --hyperparameter horizon=null --hyperparameter rule=fast"
    result = run(*words.split(), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["name"] == "digits"
    assert service.models["digits"].spec == {
        "task": "classification",
        "inputs": 64,
        "classes": [0, 1, 2],
        "label_type": "integer",
        "hidden": [100, 50],
        "learner": "am-mem",
        "scale": "none",
        "seed": 7,
        "block": {"size": 32},
        "hyperparameters": {"mu": 0.1, "horizon": None, "rule": "fast"},
    }


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        (["--classes", "0,1,-2"], [0, 1, -2]),
        (["--classes", "false, true"], [False, True]),
        (["--classes", "a,1"], ["a", "1"]),
        (["--classes", "0,1", "--label-type", "string"], ["0", "1"]),
        (["--classes", "0,1", "--label-type", "boolean"], [False, True]),
    ],
)
def test_classes_have_the_type_they_look_like(
    run: Run, service: FakeService, options: list[str], classes: list[object]
) -> None:
    result = run("models", "create", "new", "--inputs", 1, *options)
    assert result.exit_code == 0, result.stderr
    assert json.dumps(service.models["new"].spec["classes"]) == json.dumps(classes)


def test_options_override_the_spec_file(run: Run, service: FakeService, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"inputs": 3, "classes": ["a"], "seed": 1, "block": {"size": 8, "wait_ms": 9}}))
    assert run("models", "create", "new", "--spec", spec, "--seed", 2, "--block-size", 16).exit_code == 0
    created = service.models["new"].spec
    assert (created["inputs"], created["seed"], created["block"]) == (3, 2, {"size": 16, "wait_ms": 9})


def test_a_model_that_was_shown_is_a_spec(run: Run, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "iris.json").write_text(run("models", "show", "iris", "--json").stdout)
    assert run("models", "create", "new", "--spec", tmp_path / "iris.json", "--seed", 7).exit_code == 0
    assert service.models["new"].spec == service.models["iris"].spec | {"seed": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "spec.json: Expecting property name"),
        ("[]", "spec.json: a spec is a JSON object"),
        ('{"inputs": 1e999}', "error: the spec: Out of range float values"),
        ("{}", "inputs = null: is required; classes = null: is required"),
    ],
)
def test_a_bad_spec_is_one_line_on_stderr(run: Run, tmp_path: Path, text: str, message: str) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(text)
    result = run("models", "create", "new", "--spec", spec)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--inputs", "2"], ["--inputs", "2", "--classes", "a", "--hidden", "x"]])
def test_options_that_make_no_spec_are_a_usage_error(run: Run, options: list[str]) -> None:
    assert run("models", "create", "new", *options).exit_code == 2


def test_models_are_listed_and_shown(run: Run) -> None:
    assert "iris" in run("models", "list").stdout
    assert [model["name"] for model in json.loads(run("models", "list", "--json").stdout)] == ["iris"]
    shown = run("models", "show", "iris").stdout
    assert "spec.classes" in shown
    assert '["a", "b"]' in shown
    assert json.loads(run("models", "show", "iris", "--json").stdout)["samples_learned"] == 0


def test_names_and_labels_are_shown_as_they_are(run: Run, service: FakeService) -> None:
    service.models["[red]:smile:"] = service.models.pop("iris")
    assert "[red]:smile:" in run("models", "list").stdout


@pytest.mark.parametrize(("stdin", "left"), [("y\n", []), ("n\n", ["iris"]), ("", ["iris"])])
def test_deleting_asks_first(run: Run, service: FakeService, stdin: str, left: list[str]) -> None:
    result = run("models", "delete", "iris", stdin=stdin)
    assert list(service.models) == left
    assert result.exit_code == (1 if left else 0)


def test_deleting_with_yes_does_not_ask(run: Run, service: FakeService) -> None:
    assert run("models", "delete", "iris", "--yes").exit_code == 0
    assert service.models == {}


def test_snapshots_are_made_listed_shown_and_restored(run: Run) -> None:
    assert run("snapshots", "create", "iris", "first").exit_code == 0
    assert "first" in run("snapshots", "list", "iris").stdout
    assert [s["name"] for s in json.loads(run("snapshots", "list", "iris", "--json").stdout)] == ["first"]
    assert json.loads(run("snapshots", "show", "iris", "first", "--json").stdout)["name"] == "first"
    assert json.loads(run("restore", "iris", "first", "--json").stdout)["snapshot"] == "first"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("models show nobody", "error: there is no model 'nobody'\n"),
        ("models show digits/metrics", "error: a name is not empty and has no slash: 'digits/metrics' is none\n"),
        ("restore iris nothing", "error: there is no such snapshot\n"),
        ("models list --key amk_wrong", "error: the API key is missing or unknown\n"),
        ("models list --url ftp://host", "error: url must be like http://127.0.0.1:8707, not 'ftp://host'\n"),
    ],
)
def test_an_expected_error_is_one_line_on_stderr(run: Run, words: str, message: str) -> None:
    result = run(*words.split())
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


def test_a_refused_connection_says_where_it_tried(run: Run) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    result = run("models", "list", "--url", "http://127.0.0.1:1", transport=httpx.MockTransport(refuse))
    assert result.exit_code == 1
    assert result.stderr == "error: cannot connect to http://127.0.0.1:1: [Errno 111] Connection refused\n"


def test_the_key_of_this_machine_is_found(run: Run, tmp_path: Path) -> None:
    environ = {"AMSTREAM_KEY": None, "AMSTREAM_DATA_DIR": str(tmp_path)}
    missing = run("models", "list", environ=environ)
    assert missing.exit_code == 1
    assert str(tmp_path / "admin.key") in missing.stderr
    (tmp_path / "admin.key").write_text("amk_fake\n")
    assert run("models", "list", environ=environ).exit_code == 0
