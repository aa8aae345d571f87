"""Random delays, so that peers with the same schedule do not act at the same moment."""

from __future__ import annotations

from identity.keys import Random


def between(rng: Random, least: float, most: float) -> float:
    """Uniform in [least, most), from four bytes of `rng`."""
    return least + (most - least) * int.from_bytes(rng(4), "little") / 2**32
