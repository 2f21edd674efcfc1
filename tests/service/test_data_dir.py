from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.data_dir import DataDir, DataDirInUse


def test_a_second_process_cannot_open_the_directory_and_is_told_who_has_it(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    program = "import sys, pathlib; from service.data_dir import DataDir; DataDir(pathlib.Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", program, str(data_dir.path)], capture_output=True, text=True, check=False
    )
    data_dir.close()
    assert second.returncode != 0
    assert f"in use by another amstream (process {os.getpid()})" in second.stderr


def test_a_directory_that_was_closed_can_be_opened_again(tmp_path: Path) -> None:
    DataDir(tmp_path).close()
    again = DataDir(tmp_path)
    with pytest.raises(DataDirInUse):
        DataDir(tmp_path)
    again.close()


def test_the_directory_is_private_and_its_node_name_lasts(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "data")
    node = first.node
    first.close()
    second = DataDir(tmp_path / "data")
    assert second.node == node
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    second.close()
