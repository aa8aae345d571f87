"""All peers that a swarm knows, and which of them may be forgotten.  Sans-IO; at most `Limits.known` of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netstack.swarm.core.peer import Peer, PeerInfo
from netstack.swarm.core.peer_link import Bond


class Roster:
    """`bonds` are those between us and peers right now: who has one is not forgotten."""

    def __init__(self, known: int, bonds: Mapping[bytes, Bond]) -> None:
        self.wanted: set[bytes] = set()  # topics that we dial for
        self._known = known
        self._bonds = bonds
        self._peers: dict[bytes, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """Over a copy: peers may be forgotten meanwhile."""
        return iter(list(self._peers.values()))

    def get(self, key: bytes) -> Peer | None:
        return self._peers.get(key)

    def know(self, key: bytes) -> Peer | None:
        """Its entry, new if need be.  None: the table is full of better ones."""
        peer = self._peers.get(key)
        if peer is not None:
            return peer
        if len(self._peers) >= self._known:
            worst = min(self._peers.values(), key=self._worth)
            if self._worth(worst) >= (0, 0):
                return None
            del self._peers[worst.key]
        peer = self._peers[key] = Peer(key)
        return peer

    def reason(self, peer: Peer) -> bool:
        """Whether we want to be connected to it."""
        return peer.explicit or not self.wanted.isdisjoint(peer.topics)

    def tidy(self, peer: Peer) -> None:
        """Forgets it where nothing is to be remembered."""
        if peer.banned or peer.explicit or peer.queued or peer.key in self._bonds:
            return
        if not self.reason(peer):
            self._peers.pop(peer.key, None)

    def info(self, key: bytes) -> PeerInfo | None:
        peer = self._peers.get(key)
        bond = self._bonds.get(key)
        active = bond.active if bond else None
        if peer is None:
            if active is None:
                return None
            peer = Peer(key, proven=True)  # it dialled us, and we know nothing else of it
        return PeerInfo(
            key,
            peer.relays,
            frozenset(peer.topics),
            peer.priority,
            peer.attempts,
            peer.proven or active is not None,
            peer.explicit,
            peer.banned,
            active is not None,
            active.initiator if active else None,
        )

    def keys(self) -> set[bytes]:
        """All peers known or connected."""
        return self._peers.keys() | {key for key, bond in self._bonds.items() if bond.active}

    def _worth(self, peer: Peer) -> tuple[int, int]:
        """Below (0, 0): nothing is lost with it.  A ban is kept, or it would be worth flooding us to get rid of one."""
        if peer.banned or peer.explicit or peer.queued or peer.key in self._bonds:
            return (0, 0)
        return (-1, int(peer.proven))
