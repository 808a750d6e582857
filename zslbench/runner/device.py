"""Which devices this machine has, and how its threads wait."""

from __future__ import annotations

import os

from zslbench.errors import BadValue

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What OpenMP's libraries read, when they are loaded, of how a thread waits for the others."""


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user chose otherwise; to be called before torch is loaded.

    By default a waiting thread keeps its processor busy, which takes time from the thread that it waits for.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def check_device(device: str) -> None:
    """Check that a device exists before any work is done; ``auto`` and ``cpu`` always do.

    Raises:
        BadValue: not a device, or one that this machine lacks.
    """
    if device in ("auto", "cpu"):
        return
    kind, _, number = device.partition(":")
    if kind not in ("cuda", "mps") or (number and not number.isdigit()):
        raise BadValue(f"device {device!r} is not allowed; choose auto, cpu, cuda, cuda:N or mps.")
    available = devices()
    if device not in available and f"{device}:0" not in available:
        raise BadValue(
            f"device {device!r} is not on this machine; it has: {', '.join(available)}; choose one of these."
        )


def devices() -> list[str]:
    """Return the devices of this machine: ``cpu``, ``cuda:0`` …, ``mps`` (imports torch)."""
    import torch

    found = ["cpu"] + [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found
