"""What holds for all tests: one thread each (they run side by side), and where real data may lie."""

from __future__ import annotations

import os
from pathlib import Path

# Before NumPy or PyTorch is imported: tests run in several processes, and results do not depend on the machine.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HEATPROOF_SHARED_DATA", str(Path(__file__).resolve().parents[2] / "shared/data"))
