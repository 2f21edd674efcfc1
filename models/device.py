"""The one place where a device is chosen."""

from __future__ import annotations

import torch


def choose_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu` or `cuda`.

    Raises: ValueError for another name, or for `cuda` where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("device is 'cuda', but torch finds no CUDA device")
    return torch.device("cuda" if name != "cpu" and available else "cpu")
