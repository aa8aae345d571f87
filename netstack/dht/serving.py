"""The commands of HyperDHT from the side that is asked, except the two that connect peers.

    FIND_PEER       who announced the key that hashes to the target      LOOKUP       who announced under the target
    ANNOUNCE        takes a record, or a peer to relay for               UNANNOUNCE   gives either up
    MUTABLE_PUT     a signed value, newer than the one we hold           MUTABLE_GET  that value, if new enough
    IMMUTABLE_PUT   a value that hashes to the target                    IMMUTABLE_GET

Only a persistent node stores and answers them: an ephemeral one names closer nodes and error 1.  What is not signed as
it must be gets no answer at all; writing takes the token of an earlier answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import netstack.namespaces as namespaces
from identity.errors import DecodeError
from netstack.dht.ask import Handler, SendReply
from netstack.dht.contact import network_of
from netstack.dht.context import DhtContext
from netstack.dht.datagram import (
    ANNOUNCE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
    SEQ_REUSED,
    SEQ_TOO_LOW,
    UNANNOUNCE,
    UNKNOWN_COMMAND,
    Request,
)
from netstack.dht.records import (
    MAX_PEERS,
    MAX_RELAYS,
    PeerRecord,
    decode_announce,
    decode_mutable_put,
    decode_seq,
    encode_lookup,
    encode_mutable,
    encode_peer,
    hashed,
    verify_announce,
    verify_mutable,
)
from netstack.dht.store import Forward, Renewal, Store
from netstack.udp.port import Address

Serve = Callable[[Request, bytes, Address, int], None]  # request, its target, source, port


class Serving:
    """The commands over `store`; every answer goes out through `reply`."""

    def __init__(self, context: DhtContext, store: Store, reply: SendReply) -> None:
        self._context = context
        self._store = store
        self._reply = reply

    def handlers(self) -> dict[int, Handler]:
        """What answers each command."""
        commands: dict[int, Serve] = {
            FIND_PEER: self._find_peer,
            LOOKUP: self._lookup,
            ANNOUNCE: self._announce,
            UNANNOUNCE: self._unannounce,
            MUTABLE_PUT: self._mutable_put,
            MUTABLE_GET: self._mutable_get,
            IMMUTABLE_PUT: self._immutable_put,
            IMMUTABLE_GET: self._immutable_get,
        }
        return {command: self._guarded(serve) for command, serve in commands.items()}

    def _guarded(self, serve: Serve) -> Handler:
        context, reply = self._context, self._reply

        def handler(request: Request, source: Address, port: int, now: float) -> bool:
            if context.id is None:
                reply(request, source, port, error=UNKNOWN_COMMAND)
            elif request.target is not None:
                with suppress(DecodeError):  # malformed: no answer
                    serve(request, request.target, source, port)
            return True

        return handler

    # reading

    def _give(self, request: Request, source: Address, port: int, value: bytes | None) -> None:
        self._reply(request, source, port, value=value, token=True)

    def _find_peer(self, request: Request, target: bytes, source: Address, port: int) -> None:
        self._give(request, source, port, self._store.peer_at(target, self._context.now))

    def _lookup(self, request: Request, target: bytes, source: Address, port: int) -> None:
        context, store = self._context, self._store
        peers = store.records.draw(target, context.now)
        peer = store.peer_at(target, context.now)
        if peer is not None and len(peers) < MAX_PEERS:
            peers.append(peer)
        bump = store.bumps.get(target, context.now) or 0
        self._give(request, source, port, encode_lookup(peers, bump) if peers else None)

    def _mutable_get(self, request: Request, target: bytes, source: Address, port: int) -> None:
        if request.value is None:
            return
        lowest = decode_seq(request.value)
        mutable = self._store.mutables.get(target, self._context.now)
        good = mutable is not None and mutable.seq >= lowest
        self._give(request, source, port, encode_mutable(mutable) if mutable and good else None)

    def _immutable_get(self, request: Request, target: bytes, source: Address, port: int) -> None:
        self._give(request, source, port, self._store.immutables.get(target, self._context.now))

    # writing

    def _taken(self, request: Request, source: Address, port: int) -> None:
        self._reply(request, source, port, closer=False)

    def _announce(self, request: Request, target: bytes, source: Address, port: int) -> None:
        context = self._context
        if request.token is None or request.value is None or context.id is None:
            return
        announce = decode_announce(request.value)
        if announce.peer is None:
            if announce.refresh is not None and self._renew(announce.refresh, source):
                self._taken(request, source, port)
            return
        if not verify_announce(announce, target, context.id, request.token, namespaces.ANNOUNCE):
            return
        key = announce.peer.key
        renewal = Renewal(
            target, key, encode_peer(PeerRecord(key, announce.peer.relays[:MAX_RELAYS])), hashed(key) == target
        )
        self._keep(renewal, source)
        if not renewal.forward:
            self._bump(target, announce.bump, source)
        if announce.refresh is not None:
            self._store.renewals.put(announce.refresh, renewal, context.now, network_of(source[0]))
        self._taken(request, source, port)

    def _keep(self, what: Renewal, source: Address) -> None:
        store, now = self._store, self._context.now
        if what.forward:
            # announced under its own key: we relay handshakes to where it is, and keep no record
            store.forwards.put(what.target, Forward(source, what.peer), now, network_of(source[0]))
            store.records.remove(what.target, what.key)
        else:
            store.records.add(what.target, what.key, what.peer, network_of(source[0]), now)

    def _renew(self, token: bytes, source: Address) -> bool:
        """Renews an announcement whose refresh value is the hash of `token`; `token` is the next such value."""
        store, now = self._store, self._context.now
        renewal = store.renewals.get(hashed(token), now)
        if renewal is None:
            return False
        store.renewals.remove(hashed(token))
        store.renewals.put(token, renewal, now, network_of(source[0]))
        self._keep(renewal, source)
        return True

    def _bump(self, target: bytes, bump: int, source: Address) -> None:
        context = self._context
        epoch = context.epoch
        latest = (epoch + context.now + context.limits.bump_drift) * 1000 if epoch else 0
        if (self._store.bumps.get(target, context.now) or 0) < bump <= latest:
            self._store.bumps.put(target, bump, context.now, network_of(source[0]))

    def _unannounce(self, request: Request, target: bytes, source: Address, port: int) -> None:
        context = self._context
        if request.token is None or request.value is None or context.id is None:
            return
        announce = decode_announce(request.value)
        if announce.peer is None or not verify_announce(
            announce, target, context.id, request.token, namespaces.UNANNOUNCE
        ):
            return
        key = announce.peer.key
        if hashed(key) == target:
            self._store.forwards.remove(target)
        self._store.records.remove(target, key)
        self._taken(request, source, port)

    def _mutable_put(self, request: Request, target: bytes, source: Address, port: int) -> None:
        context = self._context
        if request.token is None or request.value is None:
            return
        key, mutable = decode_mutable_put(request.value)
        if hashed(key) != target or not mutable.value or not verify_mutable(mutable, key):
            return
        held = self._store.mutables.get(target, context.now)
        if held is not None and mutable.seq <= held.seq:
            if mutable.seq < held.seq:
                self._reply(request, source, port, error=SEQ_TOO_LOW)
                return
            if mutable.value != held.value:
                self._reply(request, source, port, error=SEQ_REUSED)
                return
        self._store.mutables.put(target, mutable, context.now, network_of(source[0]), len(mutable.value))
        self._give(request, source, port, None)

    def _immutable_put(self, request: Request, target: bytes, source: Address, port: int) -> None:
        context = self._context
        if request.token is None or not request.value or hashed(request.value) != target:
            return
        self._store.immutables.put(target, request.value, context.now, network_of(source[0]), len(request.value))
        self._give(request, source, port, None)
