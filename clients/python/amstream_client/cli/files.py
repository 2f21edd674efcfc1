"""Opens a file of samples by what its name ends in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from amstream_client.cli.batch import Batch, DataFileError, Layout
from amstream_client.cli.csv_file import read_csv
from amstream_client.cli.npz_file import read_npz

READERS = {".csv": read_csv, ".npz": read_npz}


def read_batches(path: Path, layout: Layout, size: int) -> Iterator[Batch]:
    """The rows in order, `size` at a time.

    Raises:
        DataFileError: for a file that cannot be read or does not fit
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataFileError(f"{path}: must end in {' or '.join(READERS)}")
    try:
        yield from reader(path, layout, size)
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error


def sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error
