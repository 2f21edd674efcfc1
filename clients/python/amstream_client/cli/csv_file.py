"""CSV files, read as a stream: with or without a header, empty fields = missing values."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from amstream_client.cli.batch import Batch, DataFileError, Layout, to_number, to_target, to_time, to_weight

Value = TypeVar("Value")
Record = tuple[int, list[str]]  # row number, fields


def read_csv(path: Path, layout: Layout, size: int) -> Iterator[Batch]:
    with path.open("rb") as binary, TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        length = os.fstat(binary.fileno()).st_size
        records = _records(path, text)
        first = next(records, None)
        if first is None:
            raise DataFileError(f"{path}: is empty")
        columns = _columns(path, first, layout)
        data = records if columns.has_header else chain([first], records)
        while part := list(islice(data, size)):
            yield _batch(path, part, columns, layout, binary.tell() / length)


@dataclass(frozen=True)
class _Columns:
    names: list[str]  # as messages show them
    features: list[int]
    label: int | None
    weight: int | None
    time: int | None
    has_header: bool


def _records(path: Path, text: TextIOWrapper) -> Iterator[Record]:
    row = 0
    try:
        for row, fields in enumerate(csv.reader(text, strict=True), start=1):
            if fields:  # a blank line has none
                yield row, fields
    except csv.Error as error:
        raise DataFileError(f"{path}, row {row + 1}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataFileError(f"{path}, after row {row}: is not UTF-8") from error


def _columns(path: Path, first: Record, layout: Layout) -> _Columns:
    row, fields = first
    names = [field.strip() for field in fields]
    named = any((layout.label, layout.weight, layout.time))
    if named and layout.header is False:
        raise DataFileError(f"{path}: --label, --weight and --time need a header, which --no-header says it has not")
    label, weight, time = (_named(path, row, names, name) for name in (layout.label, layout.weight, layout.time))
    features = [column for column in range(len(fields)) if column not in (label, weight, time)]
    words = layout.header is not False and _are_words([fields[column] for column in features])
    if layout.features is not None and (label is not None or layout.header or words):
        return _by_name(path, names, layout, label, weight, time)
    if label is None and len(features) == layout.inputs + 1:
        label = features.pop()
    if len(features) != layout.inputs:
        raise DataFileError(
            f"{path}: {len(features)} columns of features, but the model has {layout.inputs} inputs"
            " (a label is the last column, or --label names it)"
        )
    has_header = layout.header
    if has_header is None:
        has_header = named or _are_words([fields[column] for column in features]) or _is_numbered(path, first, layout)
    shown = [f"'{name}'" for name in names] if has_header else [str(i) for i in range(1, len(fields) + 1)]
    return _Columns(shown, features, label, weight, time, has_header)


def _by_name(
    path: Path, names: list[str], layout: Layout, label: int | None, weight: int | None, time: int | None
) -> _Columns:
    """Columns in any order, as the model names its features; of others, the only one is the label, unless it is named."""
    wanted = layout.features or ()
    missing = [name for name in wanted if names.count(name) != 1]
    if missing:
        raise DataFileError(f"{path}: needs one column for each feature of the model; not so for '{missing[0]}'")
    others = [column for column, name in enumerate(names) if name not in wanted and column not in (weight, time)]
    if label is None and len(others) == 1:
        [label] = others
    features = [names.index(name) for name in wanted]
    return _Columns([f"'{name}'" for name in names], features, label, weight, time, has_header=True)


def _named(path: Path, row: int, names: list[str], name: str | None) -> int | None:
    if name is None:
        return None
    if names.count(name) != 1:
        raise DataFileError(f"{path}, row {row}: {names.count(name)} columns are named '{name}', not 1")
    return names.index(name)


def _are_words(features: list[str]) -> bool:
    """Whether all are names. One word among numbers is a bad value, which taking the row for a header would hide."""
    texts = [text for text in features if text.strip()]
    return bool(texts) and not any(_is_number(text) for text in texts)


def _is_numbered(path: Path, first: Record, layout: Layout) -> bool:
    """Whether it is the header 0,1,2,… of columns without names. Raises: DataFileError where it could be a sample, too."""
    row, fields = first
    texts = [field.strip() for field in fields]
    if texts[: layout.inputs] != [str(column) for column in range(layout.inputs)]:
        return False
    if label := "".join(texts[layout.inputs :]):  # one column at most
        try:
            to_target(label, layout)
        except ValueError:
            return True
        if (layout.classes is not None or _is_number(label)) and label != str(layout.inputs):
            return False
    raise DataFileError(f"{path}, row {row}: is a header of numbers, or a sample: --header or --no-header says which")


def _is_number(text: str) -> bool:
    try:
        to_number(text)
    except ValueError:
        return False
    return True


def _batch(path: Path, part: list[Record], columns: _Columns, layout: Layout, share_read: float) -> Batch:
    def convert(record: Record, column: int, read: Callable[[str], Value]) -> Value:
        row, fields = record
        try:
            return read(fields[column])
        except ValueError as error:
            raise DataFileError(f"{path}, row {row}, column {columns.names[column]}: {error}") from error

    for row, fields in part:
        if len(fields) != len(columns.names):
            raise DataFileError(f"{path}, row {row}: {len(fields)} columns, but {len(columns.names)} in the first row")
    x = [[convert(record, column, to_number) for column in columns.features] for record in part]
    label, weight, time = columns.label, columns.weight, columns.time
    return Batch(
        x=np.array(x, dtype=np.float32),
        y=None if label is None else [convert(record, label, lambda text: to_target(text, layout)) for record in part],
        weight=None if weight is None else [convert(record, weight, to_weight) for record in part],
        first_row=part[0][0],
        last_row=part[-1][0],
        share_read=share_read,
        time=None if time is None else [convert(record, time, to_time) for record in part],
    )
