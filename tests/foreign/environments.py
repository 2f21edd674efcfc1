"""Virtual environments for clients that nobody here wrote: each has pins that are not ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".foreign"
INSTALL_S, RUN_S = 600, 100


def environment(client: str) -> Path:
    """The Python of the environment that has `requirements/CLIENT.txt` installed; made once for each content of that file."""
    requirements = HERE / "requirements" / f"{client}.txt"
    pins = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
    place = ENVIRONMENTS / f"{client}-{sys.version_info.major}.{sys.version_info.minor}-{pins}"
    python, installed = place / "bin" / "python", place / "installed"
    if not installed.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True, timeout=INSTALL_S)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
        subprocess.run(install, check=True, timeout=INSTALL_S)
        installed.touch()
    return python


def run(client: str, *arguments: str) -> dict[str, Any]:
    """What `programs/CLIENT.py` prints, run in the client's environment and with nothing of ours to import."""
    program = HERE / "programs" / f"{client.replace('-', '_')}.py"
    command: list[str | Path] = [environment(client), "-I", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed
