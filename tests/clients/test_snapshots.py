"""Snapshots in the client and on the command line, as files too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

from amstream_client import Client, Conflict, Invalid, NotFound, PreconditionFailed, UnexpectedAnswer
from amstream_client.testing import FakeService

Run = Callable[..., Result]


@pytest.fixture
def taken(client: Client) -> None:
    """The model 'iris' learned one 'a', was kept as 'first', and learned five 'b'."""
    client.learn("iris", [[1, 2]], ["a"])
    client.create_snapshot("iris", "first")
    client.learn("iris", [[1, 2]] * 5, ["b"] * 5)


@pytest.mark.usefixtures("taken")
class TestClientCalls:
    def test_a_snapshot_moves_to_another_model_as_a_file(self, client: Client, tmp_path: Path) -> None:
        client.create_model("other", {"inputs": 2, "classes": ["a", "b"]})
        client.export_snapshot("iris", "first", tmp_path / "file")
        imported = client.import_snapshot("other", "from-iris", str(tmp_path / "file"))
        assert client.snapshots("other") == [imported]
        assert (imported.name, imported.digest) == ("from-iris", client.snapshot("iris", "first").digest)
        assert client.import_snapshot("other", "from-iris", tmp_path / "file") == imported
        client.learn("iris", [[1, 2]], ["a"])
        client.create_snapshot("iris", "second")
        client.export_snapshot("iris", "second", tmp_path / "second")
        with pytest.raises(Conflict):
            client.import_snapshot("other", "from-iris", tmp_path / "second")

    def test_a_file_is_replaced_whole_or_not_at_all(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("older")
        with pytest.raises(NotFound):
            client.export_snapshot("iris", "nothing", tmp_path / "file")
        assert (tmp_path / "file").read_text() == "older"
        client.export_snapshot("iris", "first", tmp_path / "file")
        assert (tmp_path / "file").read_text() != "older"
        with pytest.raises(OSError):  # noqa: PT011  which one is up to the system
            client.export_snapshot("iris", "first", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_an_answer_that_is_no_snapshot_file_is_not_kept(self, tmp_path: Path) -> None:
        page = httpx.MockTransport(lambda _: httpx.Response(200, html="<p>log in first</p>"))
        with pytest.raises(UnexpectedAnswer):
            Client(transport=page).export_snapshot("iris", "first", tmp_path / "file")
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_snapshot_file_is_refused(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"\x80\x04.")
        with pytest.raises(Invalid):
            client.import_snapshot("iris", "x", tmp_path / "file")
        with pytest.raises(FileNotFoundError):
            client.import_snapshot("iris", "x", tmp_path / "nowhere")

    def test_restoring_can_insist_on_a_digest(self, client: Client) -> None:
        with pytest.raises(PreconditionFailed):
            client.restore("iris", "first", if_match="0" * 64)
        assert client.predict_one("iris", [0, 0]).label == "b"
        client.restore("iris", "first", if_match=client.snapshot("iris", "first").digest)
        assert client.predict_one("iris", [0, 0]).label == "a"
        for wrong in ("", '"quoted"', "a b"):
            with pytest.raises(ValueError, match="if_match"):
                client.restore("iris", "first", if_match=wrong)

    def test_a_deleted_snapshot_is_gone(self, client: Client) -> None:
        client.delete_snapshot("iris", "first")
        assert client.snapshots("iris") == []
        with pytest.raises(NotFound):
            client.delete_snapshot("iris", "first")


@pytest.mark.usefixtures("taken")
class TestCommands:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_export_and_import_name_what_is_not_named(self, run: Run, client: Client) -> None:
        assert run("snapshots", "export", "iris", "first").stdout == "iris-first.safetensors\n"
        result = run("snapshots", "import", "iris", "iris-first.safetensors", "--json")
        assert json.loads(result.stdout)["name"] == "iris-first"
        assert run("snapshots", "export", "iris", "first", "here").stdout == "here\n"
        assert run("snapshots", "import", "iris", "here", "--name", "again").exit_code == 0
        assert [snapshot.name for snapshot in client.snapshots("iris")] == ["first", "iris-first", "again"]

    def test_a_file_that_is_there_is_not_replaced_unless_told_to(self, run: Run) -> None:
        Path("here").write_text("older")
        result = run("snapshots", "export", "iris", "first", "here")
        assert (result.exit_code, result.stderr) == (1, "error: here: is there already; --force replaces it\n")
        assert run("snapshots", "export", "iris", "first", "here", "--force").exit_code == 0
        assert Path("here").read_text() != "older"

    @pytest.mark.parametrize(("stdin", "left"), [("y\n", 0), ("n\n", 1), ("", 1)])
    def test_deleting_asks_first(self, run: Run, client: Client, stdin: str, left: int) -> None:
        result = run("snapshots", "delete", "iris", "first", stdin=stdin)
        assert "'first' of 'iris', taken after 1 samples" in result.stdout
        assert (len(client.snapshots("iris")), result.exit_code) == (left, left)

    def test_deleting_with_yes_does_not_ask(self, run: Run, client: Client) -> None:
        assert run("snapshots", "delete", "iris", "first", "--yes").exit_code == 0
        assert client.snapshots("iris") == []

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("snapshots import iris nowhere", "error: nowhere: No such file or directory\n"),
            ("snapshots export iris first no/where", "error: no/where: No such file or directory\n"),
            ("snapshots export iris nothing", "error: there is no such snapshot\n"),
            ("snapshots delete iris nothing", "error: there is no such snapshot\n"),
            ("restore iris first --if-match 0", 'the snapshot has another digest; If-Match = "\\"0\\""'),
        ],
    )
    def test_an_expected_error_is_one_line_on_stderr(self, run: Run, words: str, message: str) -> None:
        result = run(*words.split())
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert message in result.stderr

    def test_restore_takes_the_digest_that_show_tells(self, run: Run, service: FakeService) -> None:
        digest = json.loads(run("snapshots", "show", "iris", "first", "--json").stdout)["digest"]
        assert run("restore", "iris", "first", "--if-match", digest).exit_code == 0
        assert service.models["iris"].y == ["a"]
