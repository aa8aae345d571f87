"""The operations of a host in the DHT, as coroutines: look-ups, announcements, values (`netstack/dht/hyper.py`).

Cancelling a coroutine ends its walk.  Without a DHT each raises KithkinError with code `not_available_yet`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from identity.errors import KithkinError
from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome, Query, Reply
from netstack.dht.records import LookupReply, Mutable, PeerRecord, hashed
from netstack.udp.port import Address

T = TypeVar("T")
MAX_FOUND = 1024  # records reported in one walk, so that a flooded topic costs a bounded time


class RunningWalk:
    """One walk under way and the future of its outcome."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[Outcome] = loop.create_future()
        self.query: Query | None = None

    def end(self, outcome: Outcome) -> None:
        """The walk is over."""
        if not self.done.done():
            self.done.set_result(outcome)

    def cancel(self) -> None:
        """Ends the walk; does nothing after its end."""
        if self.query is not None:
            self.query.cancel()


class DhtClient:
    """The part of a `Host` that uses the DHT.

    Topics and hashes have 32 bytes.  Every method raises KithkinError `not_available_yet` where the host is in no DHT,
    and ValueError before it is started.
    """

    def _dht(self) -> DhtNode:
        """The DHT node, with its clock set.  Raises KithkinError where there is none."""
        raise KithkinError("not_available_yet", "this host is in no DHT: give it bootstrap nodes")

    def _soon(self) -> None:
        raise NotImplementedError

    async def lookup(self, topic: bytes) -> AsyncIterator[PeerRecord]:
        """Yields the peers that announced under `topic` as they are found, each key once."""
        node = self._dht()
        loop = asyncio.get_running_loop()
        running = RunningWalk(loop)
        seen: set[bytes] = set()
        found: asyncio.Queue[PeerRecord | None] = asyncio.Queue()

        def on_found(peers: LookupReply, reply: Reply) -> None:
            for peer in peers.peers:
                if peer.key not in seen:
                    seen.add(peer.key)
                    found.put_nowait(peer)

        running.query = hyper.lookup(node, topic, on_found, lambda outcome: found.put_nowait(None))
        self._soon()
        try:
            while (peer := await found.get()) is not None:
                yield peer
        finally:
            running.cancel()

    async def look_up(self, topic: bytes, on_found: Callable[[PeerRecord], None]) -> int:
        """Reports each record under `topic` once, as nodes answer; returns how many nodes answered."""
        node = self._dht()
        outcome = await self._walk(lambda done: hyper.lookup(node, topic, each_record(on_found), done))
        return outcome.answers

    async def find_peer(self, key: bytes) -> tuple[Address, ...]:
        """The DHT nodes that relay handshakes for this public key; empty where it is not announced."""
        node = self._dht()
        relays: dict[Address, None] = {}

        def on_found(record: PeerRecord, reply: Reply) -> None:
            relays[reply.address] = None

        await self._walk(lambda done: hyper.find_peer(node, hashed(key), on_found, done))
        return tuple(relays)

    async def announce(
        self, topic: bytes, key: SigningKey, on_found: Callable[[PeerRecord], None] | None = None
    ) -> int:
        """Stores a record of `key`, which must be listening here, under `topic`; returns how many nodes took it.

        `on_found` is called for each record of others that the walk finds, once each.
        """
        node = self._dht()
        relays = self._relays_of(key.public)
        found = each_record(on_found) if on_found is not None else None
        outcome = await self._walk(lambda done: hyper.announce(node, topic, key, relays, done, on_found=found))
        return outcome.committed

    async def unannounce(self, topic: bytes, key: SigningKey) -> None:
        """Withdraws our record from `topic`."""
        node = self._dht()
        await self._walk(lambda done: hyper.unannounce(node, topic, key, done))

    async def mutable_put(self, key: SigningKey, value: bytes, seq: int = 0) -> int:
        """Stores up to about 1,000 bytes under `key`; a higher `seq` replaces them.  Returns how many nodes took it."""
        node = self._dht()
        return (await self._walk(lambda done: hyper.mutable_put(node, key, value, seq, done)[0])).committed

    async def mutable_get(self, key: bytes, seq: int = 0) -> Mutable | None:
        """The newest value under the public `key` with at least this `seq`, None if there is none."""
        node = self._dht()
        return await self._fetch(lambda done: hyper.mutable_get(node, key, done, seq=seq))

    async def immutable_put(self, value: bytes) -> bytes:
        """Stores up to about 1,000 bytes; returns their hash, by which `immutable_get` finds them."""
        node = self._dht()
        await self._walk(lambda done: hyper.immutable_put(node, value, done)[0])
        return hashed(value)

    async def immutable_get(self, target: bytes) -> bytes | None:
        """The value with this hash, None if no node has it."""
        node = self._dht()
        return await self._fetch(lambda done: hyper.immutable_get(node, target, done))

    def known_nodes(self) -> list[Address]:
        """Addresses of DHT nodes that answered lately, to be given as `known` to the next run."""
        return self._dht().known_nodes()

    def _relays_of(self, key: bytes) -> tuple[Address, ...]:
        raise NotImplementedError

    async def _walk(self, start: Callable[[Callable[[Outcome], None]], Query]) -> Outcome:
        running = RunningWalk(asyncio.get_running_loop())
        running.query = start(running.end)
        self._soon()
        try:
            return await running.done
        finally:
            running.cancel()

    async def _fetch(self, start: Callable[[Callable[[T | None], None]], Query]) -> T | None:
        future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

        def done(value: T | None) -> None:
            if not future.done():
                future.set_result(value)

        query = start(done)
        self._soon()
        try:
            return await future
        finally:
            query.cancel()


def each_record(on_found: Callable[[PeerRecord], None]) -> Callable[[LookupReply, Reply], None]:
    """A handler of replies that reports each record once: many nodes keep the same, a peer that moved has several."""
    seen: set[PeerRecord] = set()

    def found(peers: LookupReply, reply: Reply) -> None:
        for peer in peers.peers:
            if peer not in seen and len(seen) < MAX_FOUND:
                seen.add(peer)
                on_found(peer)

    return found
