"""A random source with a seed: the same bytes in every run."""

from __future__ import annotations

from hashlib import blake2b

from identity.keys import Random


def stream(seed: int | str) -> Random:
    """A `Random` whose n-th call gives bytes that depend on the seed and n alone."""
    calls = 0

    def draw(size: int) -> bytes:
        nonlocal calls
        calls += 1
        out = b""
        while len(out) < size:
            out += blake2b(f"{seed}/{calls}/{len(out)}".encode()).digest()
        return out[:size]

    return draw
