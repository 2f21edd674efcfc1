"""A whole amstream service of one's own: a subprocess on a free port, its data in one directory, gone at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from amstream_client import AmstreamError, Client, Spec
from benchmarks.provenance import ROOT
from models import Architecture

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
GRACE_S = 3.0
LOG_LINES_SHOWN = 30
POLL_S = 0.05


def spec_of(net: Architecture, *, block: int, wait_ms: float, seed: int) -> Spec:
    """For a model of pixels whose classes are numbers."""
    return {
        "inputs": net.inputs,
        "hidden": list(net.hidden),
        "classes": list(range(net.outputs)),
        "scale": "pooled",
        "seed": seed,
        "block": {"size": block, "wait_ms": wait_ms},
    }


class ServiceError(Exception):
    """It did not start, or did not stop; the message ends with the tail of its log."""


class LocalService:
    """One service, launched as often as one likes on the same port and data.

    Args:
        directory: the data directory, existing; also gets the log.
        command: what is run with `serve --data-dir DIR --port PORT`.
        settings: its AMSTREAM_ variables.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str] = (sys.executable, "-m", "service"),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.command = command
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "server.log"
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        arguments = ["serve", "--data-dir", str(self.directory), "--port", str(self.port)]
        # The environment of the user's own service has no say here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AMSTREAM_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=ROOT,
                env=environment | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; what to end, and in which order, is decided here
            )

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> None:
        with Client(url=self.url, retries=0, timeout_s=5.0) as client:
            if not _holds(lambda: self._ended() or _is_ready(client), deadline_s):
                raise ServiceError(f"the service was not ready after {deadline_s:.0f} s\n{self.log_tail()}")
        if self._ended():
            raise ServiceError(f"the service ended by itself while starting\n{self.log_tail()}")

    def admin_key(self) -> str:
        return (self.directory / "admin.key").read_text().strip()

    def kill(self) -> None:
        """SIGKILL: no clean-up, no checkpoint. Its Valkey may live on for the next launch to adopt."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing until it is resumed, and then does not know that time has passed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill_valkey(self) -> None:
        """SIGKILL, of the one that the service started and will start again. Raises: ServiceError when there is none."""
        pid, _ = self._valkey()
        _signal(pid, signal.SIGKILL)

    def valkey_url(self) -> str:
        """Where other processes reach the service's Valkey: its title says so. Raises: ServiceError when there is none."""
        _, title = self._valkey()
        return "unix://" + title.partition("unixsocket:")[2].split()[0]

    def _valkey(self) -> tuple[int, str]:
        """Its pid and its title."""
        pid_file = self.directory / "valkey.pid"
        pid = int(pid_file.read_text()) if pid_file.exists() else 0
        try:
            return pid, processes_of(self.directory)[pid]
        except KeyError:
            raise ServiceError(f"no Valkey runs in {self.directory}\n{self.log_tail()}") from None

    def stop(self) -> list[str]:
        """SIGTERM, then whatever it takes.

        Returns: what the service had left behind and did not end by itself, one line a process; it has been ended, too.
        Raises: ServiceError when something runs on in spite of SIGKILL.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self.resume()
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        _holds(lambda: not processes_of(self.directory), GRACE_S)
        left = processes_of(self.directory)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in processes_of(self.directory):
                _signal(pid, number)
            if _holds(lambda: not processes_of(self.directory), GRACE_S):
                return [f"process {pid}: {command}" for pid, command in left.items()]
        raise ServiceError(f"still running: {processes_of(self.directory)}")

    def log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(["the end of its log:", *(lines[-LOG_LINES_SHOWN:] or ["(empty)"])])

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


@contextmanager
def temporary_service(
    settings: Mapping[str, str], command: Sequence[str] = (sys.executable, "-m", "service")
) -> Iterator[LocalService]:
    """A started service on fresh data; nothing is left of it.

    Raises: ServiceError, with the end of its log, also for what a client met with in the block.
    """
    with TemporaryDirectory(prefix="amstream-benchmark-") as directory:
        service = LocalService(Path(directory), command, settings)
        try:
            service.launch()
            service.wait_ready()
            yield service
        except AmstreamError as error:
            raise ServiceError(f"{error}\n{service.log_tail()}") from error
        finally:
            service.stop()


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """As by Ctrl-C, so that no server outlives the benchmark."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def processes_of(directory: Path) -> dict[int, str]:
    """Pid → command line of every live process that names `directory` there or works inside it (a Valkey hides its
    arguments behind a title), but not this one."""
    found = {}
    for pid, command, working in _proc_table() if Path("/proc/self/cmdline").exists() else _ps_table():
        if pid != os.getpid() and (str(directory) in command or working.is_relative_to(directory)):
            found[pid] = command
    return found


def _proc_table() -> list[tuple[int, str, Path]]:
    rows = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                rows.append((int(entry.name), command, (entry / "cwd").readlink()))
            except OSError:
                continue  # it has ended meanwhile, or is another user's
    return rows


def _ps_table() -> list[tuple[int, str, Path]]:
    listed = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    split = (line.strip().partition(" ") for line in listed.splitlines())
    return [(int(pid), command, Path("/")) for pid, _, command in split]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _is_ready(client: Client) -> bool:
    try:
        return client.ready()
    except AmstreamError:
        return False


def _holds(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Whether `condition` comes true in time."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
