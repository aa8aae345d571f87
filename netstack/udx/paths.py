"""Where the packets of a stream go, and where those still go that were sent before it moved (decision 0120)."""

from __future__ import annotations

from typing import NamedTuple

from netstack.udp.port import Address

MOST = 4  # older paths that may still have something in flight
_OVERHEAD = {4: 48, 6: 68}  # IP, UDP and UDX headers


class Path(NamedTuple):
    """The address, the receiver's id there (a relay has one of its own), and our port."""

    remote: Address
    remote_id: int
    port: int


class OldPaths:
    """By number, as `Flight` counts them: each with the seq from which on it is over."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[int, tuple[Path, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def keep(self, number: int, path: Path, until: int) -> None:
        self._paths[number] = path, until
        while len(self._paths) > MOST:
            del self._paths[min(self._paths)]

    def find(self, number: int, first: int) -> Path | None:
        """That path, if anything that was sent on it can still be in flight: `first` is the lowest such seq."""
        self._paths = {at: held for at, held in self._paths.items() if first < held[1]}
        held = self._paths.get(number)
        return held[0] if held else None

    def clear(self) -> None:
        self._paths.clear()


def overhead(remote: Address | None) -> int:
    """Bytes of headers before the payload, on the way there; as over IPv4 where that is not known yet."""
    return _OVERHEAD[6 if remote is not None and ":" in remote[0] else 4]
