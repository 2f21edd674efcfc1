"""The demo, `make demo`: digits streamed through a real service that is killed half-way, and what comes out of it.

It streams scikit-learn's 1,797 digits through HTTP into an AM-mem model, each block predicted before it is learned. At
a third of the way it takes a snapshot; at two thirds it kills the server with SIGKILL, starts it again and sends the
last block once more, as a client would that never saw the answer. In the end every sample must have been learned
exactly once, and the restored snapshot must predict exactly as when it was taken. Nothing is left behind.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import FrameType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

from amstream_client import AmstreamError, Client, Predictions
from benchmarks.baselines import BASELINES
from benchmarks.datasets import digits
from benchmarks.local_service import LocalService, ServiceError
from benchmarks.prequential import Learns, prequential, prequential_accuracy
from benchmarks.remote_learner import RemoteLearner
from benchmarks.runner import torch_threads
from models import Architecture, PooledScale, RunningScale, create_learner

MODEL = "digits"
NET = Architecture(64, (100, 100), 10)
BLOCK = 8
SEED = 0
PROBE = 64
ADAM_LR = 5e-3
RETRIES = 12
"""Of the client, whose pauses grow: enough to see it through a restart of the server."""
LEARNED_DEADLINE_S = 20.0
DEADLINE_S = 240

console = Console()


class DemoError(Exception):
    """What the demo promises did not hold."""


@dataclass(frozen=True)
class Row:
    method: str
    accuracy: float
    ms_per_block: float


@dataclass(frozen=True)
class Streamed:
    row: Row
    snapshot_predictions: Predictions
    restart_s: float


def main() -> int:
    started = time.monotonic()
    try:
        with _signals(), _service() as service:
            facts = run(service)
    except KeyboardInterrupt:
        console.print("interrupted; the service is gone")
        return 130
    except (DemoError, ServiceError, AmstreamError) as failure:
        console.print(f"demo failed: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    for fact in (*facts, "the service has stopped; no process and no file of it is left"):
        console.print(f"✓ {fact}", highlight=False, soft_wrap=True)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return 0


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, and so does its deadline."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _interrupt, signal.SIGALRM: _expire}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.alarm(DEADLINE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _service() -> Iterator[LocalService]:
    """A started service in a temporary directory; afterwards neither is there, whatever happens.

    Raises: DemoError when the service ended well but left a process behind.
    """
    with tempfile.TemporaryDirectory(prefix="amstream-demo-") as directory:
        service = LocalService(Path(directory))
        try:
            with console.status("starting the service"):
                service.launch()
                service.wait_ready()
            yield service
        except AmstreamError as error:
            raise DemoError(f"{error}\n{service.log_tail()}") from error
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_IGN)  # cleaning up is bounded in time and is not to be cut short
            left = service.stop()
        _require(not left, f"the stopped service left behind {'; '.join(left)}")
    _require(not Path(directory).exists(), f"{directory} is still there")


def run(service: LocalService) -> list[str]:
    """All of the demo that needs the service. Returns: what was found to hold, one line each."""
    x, y = digits().shuffled(SEED)
    probe = x[:PROBE]
    with Client(url=service.url, key=service.admin_key(), retries=RETRIES, timeout_s=10.0) as client:
        client.create_model(
            MODEL,
            {
                "inputs": NET.inputs,
                "hidden": list(NET.hidden),
                "classes": list(range(NET.outputs)),
                "learner": "am-mem",
                "scale": "pooled",
                "block": {"size": BLOCK},
                "seed": SEED,
            },
        )
        remote = RemoteLearner(client, MODEL)
        streamed = stream(service, remote, x, y, probe)
        learned = _samples_learned(client, remote.samples_posted)
        _require(
            learned == remote.samples_posted == len(y),
            f"{len(y)} samples sent, {remote.samples_posted} accepted, {learned} learned",
        )
        restored = client.restore(MODEL, "a-third")
        again = client.predict(MODEL, probe.numpy(), min_entry=restored.entry)
        before = streamed.snapshot_predictions
        _require(
            (again.labels, again.probabilities) == (before.labels, before.probabilities),
            "the restored snapshot predicts otherwise than the model did when it was taken",
        )
    with torch_threads(1):  # more only slow down matrices this small
        rows = [streamed.row, *rivals(x, y)]
    console.print(_table(rows))
    best_trivial = max(row.accuracy for row in rows if row.method in BASELINES)
    _require(streamed.row.accuracy > best_trivial, "am-mem is not above the trivial baselines")
    return [
        f"samples posted {remote.samples_posted} = samples learned {learned}",
        f"server killed (SIGKILL) mid-stream, back {streamed.restart_s:.1f} s later; the block sent twice counts once",
        f"snapshot restored: {PROBE} probe predictions equal, to the last bit, those made when it was taken",
    ]


def stream(service: LocalService, remote: RemoteLearner, x: Tensor, y: Tensor, probe: Tensor) -> Streamed:
    """The whole stream, with the snapshot and the kill in it."""
    blocks = -(-len(y) // BLOCK)
    right, restart_s, times_ms = 0, 0.0, []
    snapshot_predictions: Predictions | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("streaming", total=len(y))
        start = time.perf_counter()
        for done, right_in_block in enumerate(prequential(remote, x, y, BLOCK), start=1):
            times_ms.append(1000 * (time.perf_counter() - start))
            right += right_in_block
            progress.update(task, completed=remote.samples_posted)
            if done == blocks // 3:
                snapshot_predictions = remote.client.predict(MODEL, probe.numpy(), min_entry=remote.last_entry)
                remote.client.create_snapshot(MODEL, "a-third")
            if done == 2 * blocks // 3:
                progress.update(task, description="server killed, restarting")
                restart_s = _kill_and_repeat(service, remote)
                progress.update(task, description="streaming")
            start = time.perf_counter()
    if snapshot_predictions is None:
        raise DemoError("the stream was too short to take a snapshot")
    return Streamed(Row("am-mem through HTTP", right / len(y), median(times_ms)), snapshot_predictions, restart_s)


def _kill_and_repeat(service: LocalService, remote: RemoteLearner) -> float:
    """Returns: seconds from the kill until the block that was last acknowledged has been answered again."""
    acknowledged = remote.posts[-1].accepted
    start = time.monotonic()
    service.kill()
    service.launch()
    repeated = remote.repeat_last()  # the client tries until the new server answers
    _require(
        repeated.entries == acknowledged.entries, f"a repeated post was answered {repeated}, at first {acknowledged}"
    )
    return time.monotonic() - start


def _samples_learned(client: Client, expected: int) -> int:
    """The count once it has reached `expected`, or what it is at the deadline."""
    deadline = time.monotonic() + LEARNED_DEADLINE_S
    while (learned := client.model(MODEL).samples_learned) < expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return learned


def rivals(x: Tensor, y: Tensor) -> list[Row]:
    """Same net, order and blocks, in this process."""
    device = torch.device("cpu")
    adams: list[Row] = []
    for name, scale in (("running", RunningScale()), ("pooled", PooledScale())):
        learner = create_learner("adam", NET, hyperparameters={"lr": ADAM_LR}, scale=scale, seed=SEED, device=device)
        adams.append(_timed(f"backprop Adam, lr {ADAM_LR:g}, {name} scale (the better of two)", learner, x, y))
    trivial = [_timed(name, baseline(NET.outputs), x, y) for name, baseline in BASELINES.items()]
    return [max(adams, key=lambda row: row.accuracy), *trivial]


def _timed(name: str, learner: Learns, x: Tensor, y: Tensor) -> Row:
    start = time.perf_counter()
    accuracy = prequential_accuracy(learner, x, y, BLOCK)
    return Row(name, accuracy, 1000 * (time.perf_counter() - start) * BLOCK / len(y))


def _table(rows: list[Row]) -> Table:
    table = Table("method", title=f"digits, {NET.name}, blocks of {BLOCK}, each predicted before it is learned")
    for heading in ("prequential accuracy", "ms per block"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row.method, f"{row.accuracy:.3f}", f"{row.ms_per_block:.2f}")
    return table


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(otherwise)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _expire(number: int, frame: FrameType | None) -> None:
    raise DemoError(f"not finished after {DEADLINE_S} s")


if __name__ == "__main__":
    sys.exit(main())
