"""Medians with their spread, quantiles, and what machine said so."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median with the lowest and the highest."""
    return {"median": round(statistics.median(values), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


def quantile(values: Sequence[float], q: float) -> float:
    """Of the sorted values the one at q, as the peers' scripts take it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def machine() -> dict[str, object]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) >> 20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {"cpu": model, "cores": os.cpu_count(), "memory_gb": memory, "python": platform.python_version()}


def load() -> float:
    """Processes that were running or waiting to run in the last minute."""
    return round(os.getloadavg()[0], 2)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
