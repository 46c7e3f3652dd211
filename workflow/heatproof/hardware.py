"""What this machine has, found without importing PyTorch, because the Snakefile asks each time it is read."""

from __future__ import annotations

from pathlib import Path

# The driver lists the GPUs it has bound here, one folder each.
NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")


def has_gpu(driver: Path = NVIDIA_DRIVER) -> bool:
    """Return whether an NVIDIA driver has bound a GPU of this machine."""
    return any(driver.glob("*"))
