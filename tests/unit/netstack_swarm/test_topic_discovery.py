"""Topic discoveries on a real DHT of one process: peers find each other, and records of those that left are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from identity.keys import SigningKey
from netstack.dht.events import NetworkChanged
from netstack.dht.records import PeerRecord
from netstack.shell.testnet import Testnet
from netstack.swarm.shell.mdns import Mdns
from netstack.swarm.shell.topic_discovery import TopicDiscovery
from tests.support.dht_host import DhtHost

ADA, BOB, CLEO = (SigningKey.from_seed(seed * 32) for seed in (b"a", b"b", b"c"))
LIMIT = 120  # seconds before a hanging test is called failed


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await story()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(limited())


def topic(number: int) -> bytes:
    return blake2b(b"topic %d" % number, digest_size=32).digest()


class Found:
    """The keys of the peers found, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, record: PeerRecord) -> None:
        self._queue.put_nowait(record.key)

    async def next(self) -> bytes:
        return await self._queue.get()


def test_simultaneous_joiners_find_each_other_twenty_times_of_twenty() -> None:
    async def story() -> None:
        async with Testnet(10) as net:
            ada, bob = await DhtHost.enter(net), await DhtHost.enter(net)

            async def once(number: int) -> None:
                seen = Found(), Found()
                discoveries = (
                    TopicDiscovery(ada, topic(number), ADA, on_peer=seen[0]),
                    TopicDiscovery(bob, topic(number), BOB, on_peer=seen[1]),
                )
                assert (await seen[0].next(), await seen[1].next()) == (BOB.public, ADA.public)
                for discovery in discoveries:
                    discovery.abandon()
                    await discovery.wait_closed()

            await asyncio.gather(*(once(number) for number in range(20)))

    run(story)


def test_peer_that_left_or_became_a_client_is_not_found() -> None:
    async def story() -> None:
        async with Testnet(10) as net:
            ada, bob = await DhtHost.enter(net), await DhtHost.enter(net)
            nobody, seen = Found(), Found()
            discovery = TopicDiscovery(ada, topic(0), ADA, on_peer=nobody, client=False)
            assert await discovery.flushed()
            first = TopicDiscovery(bob, topic(0), BOB, on_peer=seen, server=False)
            assert await seen.next() == ADA.public
            first.close()
            discovery.set_role(server=False, client=True)
            assert await discovery.flushed()
            late = Found()
            second = TopicDiscovery(bob, topic(0), BOB, on_peer=late, server=False)
            assert await second.flushed()
            assert late._queue.empty() and nobody._queue.empty()
            for each in (discovery, second):
                each.close()
                await each.wait_closed()
            assert ada.walks[:3] == ["announce", "unannounce", "look up"] and ada.watchers == bob.watchers == []

    run(story)


def test_network_change_announces_again() -> None:
    async def story() -> None:
        async with Testnet(3) as net:
            ada = await DhtHost.enter(net)
            discovery = TopicDiscovery(ada, topic(0), ADA, on_peer=Found())
            assert await discovery.flushed()
            for watcher in ada.watchers:
                watcher(NetworkChanged(("192.0.2.1", 1), True))
            assert await discovery.flushed()
            assert ada.walks == ["announce", "announce"]
            discovery.suspend()
            await discovery.wait_closed()
            discovery.resume()
            assert await discovery.flushed()
            assert ada.walks == ["announce", "announce", "unannounce", "announce"]
            discovery.close()
            await discovery.wait_closed()

    run(story)


class SlowHost:
    """A host whose look-ups end when the test sets their result."""

    dht = object()

    def __init__(self) -> None:
        self.walking: list[tuple[bytes, asyncio.Future[int]]] = []

    async def look_up(self, topic: bytes, on_found: object) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.walking.append((topic, future))
        return await future

    async def announced(self, key: bytes) -> None:
        pass

    def watch(self, callback: object) -> Callable[[], None]:
        return lambda: None


def test_new_topic_does_not_wait_for_refreshes_of_a_hundred_others() -> None:
    async def story() -> None:
        host = SlowHost()

        def meet(number: int) -> TopicDiscovery:
            return TopicDiscovery(host, topic(number), ADA, on_peer=Found(), server=False)  # type: ignore[arg-type]

        discoveries = [meet(number) for number in range(100)]
        for served in range(100):
            while len(host.walking) <= served:
                await asyncio.sleep(0)
            under_way = [future for _, future in host.walking if not future.done()]
            assert len(under_way) <= 4
            under_way[0].set_result(1)
        for discovery in discoveries:
            assert await discovery.flushed()
        while len(host.walking) < 102:  # the first further look-ups
            await asyncio.sleep(0.01)
        late = meet(100)
        while topic(100) not in [target for target, _ in host.walking]:
            await asyncio.sleep(0)
        assert sum(not future.done() for _, future in host.walking) == 3  # two refreshes and the new topic
        for discovery in (*discoveries, late):
            discovery.abandon()
            await discovery.wait_closed()

    run(story)


class HostWithoutDht:
    """A host outside every DHT."""

    dht = None

    def watch(self, callback: object) -> Callable[[], None]:
        return lambda: None

    async def look_up(self, *_: object) -> None:  # never called
        raise AssertionError

    announce = unannounce = look_up


def test_peers_of_one_network_find_each_other_without_a_dht() -> None:
    async def story() -> None:
        lo = ["127.0.0.1"]
        async with Mdns(5001, interfaces=lo) as here, Mdns(5002, interfaces=lo) as there:
            seen: asyncio.Queue[PeerRecord] = asyncio.Queue()
            served = TopicDiscovery(HostWithoutDht(), topic(0), ADA, on_peer=seen.put_nowait, client=False, mdns=here)  # type: ignore[arg-type]
            asked = TopicDiscovery(HostWithoutDht(), topic(0), BOB, on_peer=seen.put_nowait, server=False, mdns=there)  # type: ignore[arg-type]
            assert await served.flushed() and await asked.flushed()
            assert await seen.get() == PeerRecord(ADA.public, (("127.0.0.1", 5001),))
            # closing the first discovery does not withdraw the name of the second
            again = TopicDiscovery(HostWithoutDht(), topic(0), CLEO, on_peer=seen.put_nowait, client=False, mdns=here)  # type: ignore[arg-type]
            served.close()
            assert await seen.get() == PeerRecord(CLEO.public, (("127.0.0.1", 5001),))
            again.close()
            asked.close()

    run(story)
