"""The walks of HyperDHT: find a peer or the peers of a topic, announce, store and fetch values.

Plain functions on a node.  Each starts a walk and returns it (`cancel` ends it without another call); `on_done` is
called once.  A value is handed on only after its signature or hash was checked, where it has one.  Peer records in
answers have none: they are hints, and the handshake proves the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import netstack.namespaces as namespaces
from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack.dht.ask import Ask
from netstack.dht.datagram import (
    ANNOUNCE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
    UNANNOUNCE,
)
from netstack.dht.node import DhtNode
from netstack.dht.query import Commit, OnDone, Outcome, Query, Reply
from netstack.dht.records import (
    MAX_PEERS,
    Announce,
    LookupReply,
    Mutable,
    PeerRecord,
    decode_lookup,
    decode_mutable,
    decode_peer,
    encode_announce,
    encode_mutable_put,
    encode_seq,
    hashed,
    sign_announce,
    sign_mutable,
    verify_mutable,
)
from netstack.dht.rpc import Call
from netstack.udp.port import Address

OnPeer = Callable[[PeerRecord, Reply], None]
OnPeers = Callable[[LookupReply, Reply], None]


def find_peer(
    node: DhtNode, target: bytes, on_found: OnPeer, on_done: OnDone | None = None, *, nodes: Iterable[Address] = ()
) -> Query:
    """Nodes that relay for the peer whose key hashes to `target` (`records.hashed(key)`).

    `on_found(record, reply)`: the node that replied is itself a relay of that peer.
    """

    def replied(reply: Reply) -> None:
        if reply.value:
            try:
                peer = decode_peer(reply.value)
            except DecodeError:
                return
            if hashed(peer.key) == target:
                on_found(peer, reply)

    return node.query(Ask(FIND_PEER, target=target), on_reply=replied, on_done=on_done, nodes=nodes)


def lookup(
    node: DhtNode, topic: bytes, on_found: OnPeers, on_done: OnDone | None = None, *, nodes: Iterable[Address] = ()
) -> Query:
    """The peers of a topic, as each node on the way knows them: `on_found(peers, reply)`, with repetitions."""
    return node.query(Ask(LOOKUP, target=topic), on_reply=peers_to(on_found), on_done=on_done, nodes=nodes)


def announce(
    node: DhtNode,
    topic: bytes,
    key: SigningKey,
    relays: tuple[Address, ...] = (),
    on_done: OnDone | None = None,
    *,
    on_found: OnPeers | None = None,
    bump: int = 0,
    refresh: bytes | None = None,
    nodes: Iterable[Address] = (),
) -> Query:
    """Writes a record of `key` to the nodes closest to `topic`, and tells on the way who is there (`on_found`).

    `relays`: where handshakes for us go, three are kept.  `refresh`: the hash of a token that may renew this.
    """

    def commit(reply: Reply) -> Commit | None:
        if reply.token is None or reply.id is None:
            return None
        signed = sign_announce(key, topic, reply.id, reply.token, relays, refresh=refresh, bump=bump)
        return Commit(ANNOUNCE, encode_announce(signed))

    found = peers_to(on_found) if on_found else None
    return node.query(Ask(LOOKUP, target=topic), commit=commit, on_reply=found, on_done=on_done, nodes=nodes)


def renew(node: DhtNode, topic: bytes, token: bytes, nodes: Iterable[Address], on_done: OnDone | None = None) -> Query:
    """Renews announcements made with `refresh` = the hash of `token`, without a signature."""

    def commit(reply: Reply) -> Commit | None:
        return Commit(ANNOUNCE, encode_announce(Announce(refresh=token))) if reply.token else None

    return node.query(Ask(LOOKUP, target=topic), commit=commit, on_done=on_done, nodes=nodes)


def unannounce(
    node: DhtNode, topic: bytes, key: SigningKey, on_done: OnDone | None = None, *, nodes: Iterable[Address] = ()
) -> Query:
    """Takes records of `key` back wherever a node shows one, or shows so many that it may hold one."""
    waiting: set[Call] = set()
    ended: list[Outcome] = []

    def replied(peers: LookupReply, reply: Reply) -> None:
        shown = len(peers.peers) >= MAX_PEERS or any(peer.key == key.public for peer in peers.peers)
        if shown and reply.token is not None and reply.id is not None:
            value = encode_unannounce(key, topic, reply.id, reply.token)
            call = node.call(reply.address, Ask(UNANNOUNCE, target=topic, value=value, token=reply.token))
            call.done = lambda response: settle(call)
            waiting.add(call)

    def settle(call: Call) -> None:
        waiting.discard(call)
        if ended and not waiting and on_done is not None:
            on_done(ended[0])

    def walked(outcome: Outcome) -> None:
        ended.append(outcome)
        if not waiting and on_done is not None:
            on_done(outcome)

    node.store.records.remove(topic, key.public)
    return node.query(Ask(LOOKUP, target=topic), on_reply=peers_to(replied), on_done=walked, nodes=nodes)


def encode_unannounce(key: SigningKey, topic: bytes, id: bytes, token: bytes) -> bytes:
    """The value of UNANNOUNCE for the one node with that id and token."""
    return encode_announce(sign_announce(key, topic, id, token, namespace=namespaces.UNANNOUNCE))


def mutable_put(
    node: DhtNode, key: SigningKey, value: bytes, seq: int, on_done: OnDone | None = None
) -> tuple[Query, Mutable]:
    """Stores `value` (1 to about 1,000 bytes) under `key`; it replaces whatever has a lower `seq`."""
    mutable = sign_mutable(key, seq, value)
    commit = Commit(MUTABLE_PUT, encode_mutable_put(key.public, mutable))
    query = node.query(
        Ask(MUTABLE_GET, target=hashed(key.public), value=encode_seq(0)),
        commit=lambda reply: commit if reply.token else None,
        on_done=on_done,
    )
    return query, mutable


def mutable_get(
    node: DhtNode,
    key: bytes,
    on_done: Callable[[Mutable | None], None],
    *,
    seq: int = 0,
    latest: bool = True,
    refresh: Callable[[Mutable], bool] | None = None,
) -> Query:
    """The value with the highest `seq`, at least the one asked for; `latest` False: the first such that is found.

    `refresh(value)` True: writes it again to the nodes closest now, so that it lives on.
    """
    best: list[Mutable] = []
    wanted: list[Commit | None] = []

    def replied(reply: Reply) -> None:
        if not reply.value:
            return
        try:
            mutable = decode_mutable(reply.value)
        except DecodeError:
            return
        if mutable.seq < seq or (best and mutable.seq <= best[0].seq) or not verify_mutable(mutable, key):
            return
        best[:] = [mutable]
        if not latest:
            query.cancel()
            on_done(mutable)

    def commit(reply: Reply) -> Commit | None:
        if not wanted:
            again = bool(best) and refresh is not None and refresh(best[0])
            wanted.append(Commit(MUTABLE_PUT, encode_mutable_put(key, best[0])) if again else None)
        return wanted[0] if reply.token else None

    query = node.query(
        Ask(MUTABLE_GET, target=hashed(key), value=encode_seq(seq)),
        commit=commit if refresh else None,
        on_reply=replied,
        on_done=lambda outcome: on_done(best[0] if best else None),
    )
    return query


def immutable_put(node: DhtNode, value: bytes, on_done: OnDone | None = None) -> tuple[Query, bytes]:
    """Stores `value` (1 to about 1,000 bytes); it is found by its hash, which is returned."""
    target = hashed(value)
    commit = Commit(IMMUTABLE_PUT, value)
    query = node.query(
        Ask(IMMUTABLE_GET, target=target), commit=lambda reply: commit if reply.token else None, on_done=on_done
    )
    return query, target


def immutable_get(node: DhtNode, target: bytes, on_done: Callable[[bytes | None], None]) -> Query:
    """The value that hashes to `target`, from the first node that has it."""

    def replied(reply: Reply) -> None:
        if reply.value is not None and hashed(reply.value) == target:
            query.cancel()
            on_done(reply.value)

    def done(outcome: Outcome) -> None:
        on_done(None)

    query = node.query(Ask(IMMUTABLE_GET, target=target), on_reply=replied, on_done=done)
    return query


def peers_to(on_found: OnPeers) -> Callable[[Reply], None]:
    """Calls `on_found` with the peers of a reply that has any."""

    def replied(reply: Reply) -> None:
        if reply.value:
            try:
                peers = decode_lookup(reply.value)
            except DecodeError:
                return
            on_found(peers, reply)

    return replied
