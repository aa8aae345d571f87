"""The peers that a swarm knows, and which of them may be forgotten.  Sans-IO; at most `SwarmLimits.known` entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netstack.swarm.core.peer import Peer, PeerInfo
from netstack.swarm.core.peer_link import PeerLink


class PeerTable:
    """`known`: how many entries at most.  `links`: the present links by key; a peer with a link is never forgotten."""

    def __init__(self, known: int, links: Mapping[bytes, PeerLink]) -> None:
        self.wanted: set[bytes] = set()  # topics that we dial for
        self._known = known
        self._links = links
        self._peers: dict[bytes, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """Over a copy: peers may be forgotten meanwhile."""
        return iter(list(self._peers.values()))

    def get(self, key: bytes) -> Peer | None:
        """The entry of a peer, None if it is not known."""
        return self._peers.get(key)

    def get_or_add(self, key: bytes) -> Peer | None:
        """The entry of a peer, a new one if it is not known.  None: the table is full of more useful peers."""
        peer = self._peers.get(key)
        if peer is not None:
            return peer
        if len(self._peers) >= self._known:
            worst = min(self._peers.values(), key=self._value)
            if self._value(worst) >= (0, 0):
                return None
            del self._peers[worst.key]
        peer = self._peers[key] = Peer(key)
        return peer

    def wants(self, peer: Peer) -> bool:
        """Whether we want a connection to this peer."""
        return peer.explicit or not self.wanted.isdisjoint(peer.topics)

    def prune(self, peer: Peer) -> None:
        """Forgets a peer that is not wanted, banned, queued or linked."""
        if peer.banned or peer.explicit or peer.queued or peer.key in self._links:
            return
        if not self.wants(peer):
            self._peers.pop(peer.key, None)

    def info(self, key: bytes) -> PeerInfo | None:
        """What an application is told of a peer, None if it is neither known nor connected."""
        peer = self._peers.get(key)
        link = self._links.get(key)
        active = link.active if link else None
        if peer is None:
            if active is None:
                return None
            peer = Peer(key, proven=True)  # it dialled us and was found nowhere
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
        return self._peers.keys() | {key for key, link in self._links.items() if link.active}

    def _value(self, peer: Peer) -> tuple[int, int]:
        """Below (0, 0): may be forgotten.  Bans are kept: else a flood of keys would lift them."""
        if peer.banned or peer.explicit or peer.queued or peer.key in self._links:
            return (0, 0)
        return (-1, int(peer.proven))
