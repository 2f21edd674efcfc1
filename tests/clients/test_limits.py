"""What the client refuses by itself is what the service would refuse, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import Result

from amstream_client import Client, limits
from amstream_client.testing import FakeService
from service import entries
from service.api import sample_checks
from service.spec_fields import LabelValue

Run = Callable[..., Result]


def test_the_limits_are_those_of_the_service() -> None:
    assert limits.LARGEST_INPUT == sample_checks.LARGEST_INPUT
    assert (limits.EARLIEST, limits.LATEST) == (entries.EARLIEST, entries.LATEST)


@pytest.mark.parametrize(
    ("kind", "last", "beyond"),
    [
        (sample_checks.Weight, limits.LARGEST_WEIGHT, np.nextafter(limits.LARGEST_WEIGHT, np.inf)),
        (sample_checks.Weight, 0.0, -5e-324),
        (LabelValue, limits.HIGHEST_LABEL, limits.HIGHEST_LABEL + 1),
        (LabelValue, limits.LOWEST_LABEL, limits.LOWEST_LABEL - 1),
        (LabelValue, "é" * limits.LONGEST_LABEL, "é" * (limits.LONGEST_LABEL + 1)),
    ],
)
def test_the_service_takes_what_is_at_a_limit_and_refuses_what_is_beyond(kind: Any, last: Any, beyond: Any) -> None:
    service: TypeAdapter[Any] = TypeAdapter(kind)
    assert service.validate_python(last) == last
    with pytest.raises(ValidationError):
        service.validate_python(beyond)


@pytest.mark.parametrize(
    ("x", "y", "more", "message"),
    [
        ([1, 1e20], "a", {}, r"x\[0, 1\] is infinite or too large: beyond 1e\+15"),
        ({"u": 1, "v": -1e16}, "a", {}, r"x\[0\]\['v'\] is infinite or too large"),
        ([1, 2], 2**63, {}, r"y\[0\]: 9223372036854775808 does not fit 64 bits"),
        ([1, 2], -(2**70), {}, r"y\[0\]: -\d+ does not fit 64 bits"),
        ([1, 2], "x" * 257, {}, r"y\[0\]: 'x{20}'… has more than 256 characters"),
        ([1, 2], 1e16, {}, r"y\[0\]: 1e\+16 is too large"),
        ([1, 2], [1.0, 10**400], {}, r"y\[0\]: .* is too large"),
        ([1, 2], "a", {"weight": [-1]}, r"weight\[0\] is -1.0, not from 0 to 1e\+06"),
        ([1, 2], "a", {"weight": [1e9]}, r"weight\[0\] is"),
        ([1, 2], "a", {"time": [1e12]}, r"time\[0\]: .* years 1 to 9999"),
    ],
)
def test_the_library_refuses_what_is_beyond(
    client: Client, service: FakeService, x: Any, y: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        client.learn("iris", [x], [y], **more)
    assert service.requests == []


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"w": "1e20"}, "column 'w': '1e20' is too large: beyond 1e+15"),
        ({"weight": "-1"}, "column 'weight': the weight '-1' is not from 0 to 1e+06"),
        ({"weight": "1e9"}, "column 'weight': the weight '1e9' is not from 0 to 1e+06"),
        ({"time": "1e12"}, "column 'time': 1000000000000.0 is not of the years 1 to 9999, in seconds since 1970"),
        ({"time": "2026-11-27T09:00:00"}, "column 'time': 2026-11-27 09:00:00 does not say its offset from UTC"),
        ({"time": "today"}, "column 'time': 'today' is no time: seconds since 1970, or such as 2026-11-27T09:00:00Z"),
    ],
)
def test_a_csv_file_with_a_value_beyond_is_refused_before_anything_is_sent(
    run: Run, service: FakeService, tmp_path: Path, cells: dict[str, str], message: str
) -> None:
    rows = [{"w": "1", "h": "2", "kind": "a", "weight": "1", "time": ""} for _ in range(600)]
    rows[500] |= cells
    path = tmp_path / "late.csv"
    path.write_text("w,h,kind,weight,time\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    result = run("learn", "iris", path, "--label", "kind", "--weight", "weight", "--time", "time")
    assert (result.exit_code, service.models["iris"].y) == (1, [])
    assert result.stderr == f"error: {path}, row 502, {message}\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", 1e20, "row 501, column 1 of x: 1e+20 is too large: beyond 1e+15"),
        ("weight", -1, "row 501: the weight '-1.0' is not from 0 to 1e+06"),
        ("weight", np.nan, "row 501: the weight is missing"),
        ("time", 1e12, "row 501: 1000000000000.0 is not of the years 1 to 9999, in seconds since 1970"),
    ],
)
def test_an_npz_file_with_a_value_beyond_is_refused_before_anything_is_sent(
    run: Run, service: FakeService, tmp_path: Path, name: str, value: float, message: str
) -> None:
    arrays = {"x": np.ones((600, 2)), "weight": np.ones(600), "time": np.ones(600)}
    arrays[name][500] = value
    path = tmp_path / "late.npz"
    np.savez(path, y=["a"] * 600, **arrays)  # type: ignore[arg-type]
    result = run("learn", "iris", path)
    assert (result.exit_code, service.models["iris"].y) == (1, [])
    assert result.stderr == f"error: {path}, {message}\n"


def test_an_integer_label_beyond_64_bits_is_named_by_its_row(run: Run, service: FakeService, tmp_path: Path) -> None:
    service.models["iris"].spec |= {"classes": [], "max_classes": 9, "label_type": "integer"}
    path = tmp_path / "digits.csv"
    path.write_text("1,2,3\n1,2,99999999999999999999\n")
    result = run("learn", "iris", path)
    assert result.exit_code == 1
    assert result.stderr == f"error: {path}, row 2, column 3: 99999999999999999999 does not fit 64 bits\n"


def test_rows_that_only_the_service_refuses_are_not_said_to_be_safe_to_send_again(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "iris.csv"
    service.models["iris"].spec["max_classes"] = 9  # so that the command lets labels pass that the fake refuses
    path.write_text("1,2,a\n" * 3 + "1,2,c\n")
    result = run("learn", "iris", path, "--batch", 3)
    assert result.exit_code == 1
    assert "(3 samples accepted; the rows before these are learned: leave them out" in result.stderr
    assert "goes on from there" not in result.stderr


def test_times_of_files_are_sent(run: Run, service: FakeService, tmp_path: Path) -> None:
    noon = 1795770000.0
    (tmp_path / "a.csv").write_text("at,w,h,kind\n2026-11-27T10:00:00+01:00,1,2,a\n,1,2,a\n")
    np.savez(tmp_path / "b.npz", x=np.ones((2, 2)), y=["a", "a"], time=[noon, np.nan])
    moments = np.array(["2026-11-27T09:00:00", "NaT"], "datetime64[ns]")
    np.savez(tmp_path / "c.npz", x=np.ones((2, 2)), y=["a", "a"], at=moments)
    for words in (["a.csv", "--label", "kind", "--time", "at"], ["b.npz"], ["c.npz", "--time", "at"]):
        result = run("learn", "iris", tmp_path / words[0], *words[1:], "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["accepted"] == 2
    assert service.models["iris"].time == [noon, None] * 3


def test_a_time_column_needs_a_header(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2,a\n")
    result = run("learn", "iris", tmp_path / "a.csv", "--time", "at", "--no-header")
    assert (result.exit_code, "need a header" in result.stderr) == (1, True)
