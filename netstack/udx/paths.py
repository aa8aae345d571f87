"""The path that a stream's packets take, and the older ones that packets in flight still take (decision 0120)."""

from __future__ import annotations

from typing import NamedTuple

from netstack.udp.port import Address

MOST = 4  # older paths that are remembered
_OVERHEAD = {4: 48, 6: 68}  # IP, UDP and UDX headers


class Path(NamedTuple):
    """The remote address, the stream id to write there (a relay has its own), and our port."""

    remote: Address
    remote_id: int
    port: int


class OldPaths:
    """Older paths by their number in `Flight`, each with the first sequence number that no longer takes it."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[int, tuple[Path, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def keep(self, number: int, path: Path, until: int) -> None:
        """Remembers a path for packets numbered below `until`."""
        self._paths[number] = path, until
        while len(self._paths) > MOST:
            del self._paths[min(self._paths)]

    def find(self, number: int, first: int) -> Path | None:
        """A path, None once nothing sent on it can be in flight; `first` is the lowest number in flight."""
        self._paths = {at: held for at, held in self._paths.items() if first < held[1]}
        held = self._paths.get(number)
        return held[0] if held else None

    def clear(self) -> None:
        """Forgets every older path."""
        self._paths.clear()


def overhead(remote: Address | None) -> int:
    """Bytes of IP, UDP and UDX headers of a packet to `remote`; those of IPv4 where it is None."""
    return _OVERHEAD[6 if remote is not None and ":" in remote[0] else 4]
