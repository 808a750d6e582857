"""Which devices this machine has."""

from __future__ import annotations

from zslbench.errors import BadValue


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
