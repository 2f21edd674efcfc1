from __future__ import annotations

import pytest
import torch

from models import choose_device


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("available", [False, True])
def test_auto_is_cuda_exactly_where_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device("auto").type == ("cuda" if available else "cpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda'"):
        choose_device("cuda")


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, not 'gpu'"):
        choose_device("gpu")
