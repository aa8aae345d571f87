"""Names over real multicast on the loopback interface: two nodes of one machine find each other and leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from identity.keys import SigningKey
from netstack.swarm.core.lan import rendezvous_of
from netstack.swarm.shell.mdns import Mdns
from netstack.udp.port import Address

ADA, BOB = (SigningKey.from_seed(seed * 32).public for seed in (b"a", b"b"))
TOPIC = b"t" * 32
LO = ["127.0.0.1"]
LIMIT = 60  # seconds before a hanging test is called failed


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await story()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(limited())


class Found:
    """The peers found, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[bytes, tuple[Address, ...]]] = asyncio.Queue()

    def __call__(self, key: bytes, addresses: tuple[Address, ...]) -> None:
        self._queue.put_nowait((key, addresses))

    async def next(self) -> tuple[bytes, tuple[Address, ...]]:
        return await self._queue.get()


def test_two_nodes_find_each_other_by_topic_and_by_key() -> None:
    async def story() -> None:
        seen = Found(), Found(), Found()
        async with Mdns(4001, interfaces=LO) as ada, Mdns(4002, interfaces=LO) as bob:
            ada.join(TOPIC, ADA, seen[0])
            bob.join(TOPIC, BOB, seen[1])
            assert await seen[0].next() == (BOB, (("127.0.0.1", 4002),))
            assert await seen[1].next() == (ADA, (("127.0.0.1", 4001),))
            ada.join(rendezvous_of(ADA), ADA)
            bob.join(rendezvous_of(ADA), None, seen[2])
            assert await seen[2].next() == (ADA, (("127.0.0.1", 4001),))

    run(story)


def test_late_node_finds_earlier_ones_and_not_those_that_left() -> None:
    async def story() -> None:
        early, late = Found(), Found()
        async with Mdns(4003, interfaces=LO) as ada:
            ada.join(TOPIC, ADA, early)
            async with Mdns(4004, interfaces=LO) as bob:
                bob.join(b"x" * 32, BOB)
                bob.join(TOPIC, None, late)
                assert await late.next() == (ADA, (("127.0.0.1", 4003),))
                bob.join(TOPIC, BOB, late)
                assert await early.next() == (BOB, (("127.0.0.1", 4004),))
                bob.leave(TOPIC)
            assert ada.networks == LO
        await ada.close()

    run(story)


def test_unusable_interface_address_is_tried_again_without_error() -> None:
    async def story() -> None:
        async with Mdns(4005, interfaces=["192.168.254.254"]) as nowhere:
            nowhere.join(TOPIC, ADA)
            assert nowhere.networks == []

    run(story)
