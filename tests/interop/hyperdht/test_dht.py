"""Networks of our nodes, of npm's, and of both: what one side puts, the other gets, whoever keeps it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.ask import Ask
from netstack.dht.datagram import FIND_NODE, INVALID_TOKEN, LOOKUP, MUTABLE_GET, MUTABLE_PUT, PLUGIN, UNKNOWN_COMMAND
from netstack.dht.events import Mode, Nat
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome, Reply
from netstack.dht.records import (
    LookupReply,
    Mutable,
    PeerRecord,
    encode_announce,
    encode_mutable,
    encode_mutable_put,
    encode_seq,
    hashed,
    sign_announce,
    sign_mutable,
)
from netstack.dht.sampler import NatSampler
from netstack.shell.testnet import Testnet
from netstack.udp.port import Address
from tests.support.npm_dht import NpmDht, NpmError

LIMIT = 90  # seconds before a hanging test is called failed
SEED, OTHER = b"\x07" * 32, b"\x08" * 32
KEY = SigningKey.from_seed(SEED)
RELAYS = (("127.0.0.1", 4001), ("127.0.0.1", 4002))


@dataclass
class Setting:
    """A network and a guest of either kind in it."""

    net: Testnet  # our nodes; those of npm, if any, joined them or are joined by them
    npm: NpmDht
    ours: DhtNode
    theirs: int

    async def ask(self, start: Callable[[Callable[[Any], None]], object]) -> Any:
        return await self.net.ask(self.ours, start)

    async def npm_ask(self, op: str, **arguments: Any) -> Any:
        return await self.npm.ask(op, node=self.theirs, **arguments)

    async def neighbours(self, target: bytes) -> Outcome:
        ended: Outcome = await self.ask(
            lambda done: self.ours.query(Ask(FIND_NODE, internal=True, target=target), on_done=done)
        )
        return ended

    async def lookup(self, topic: bytes) -> set[PeerRecord]:
        found: list[LookupReply] = []
        await self.ask(lambda done: hyper.lookup(self.ours, topic, lambda peers, _: found.append(peers), done))
        return {peer for reply in found for peer in reply.peers}

    async def npm_lookup(self, topic: bytes) -> set[PeerRecord]:
        replies = (await self.npm_ask("lookup", topic=topic))["replies"]
        return {record(peer) for reply in replies for peer in reply["peers"]}


def record(peer: dict[str, Any]) -> PeerRecord:
    return PeerRecord(bytes.fromhex(peer["key"]), tuple((host, port) for host, port in peer["relays"]))


async def setting(stack: AsyncExitStack, ours: int, theirs: int) -> Setting:
    """So many of our nodes and of npm's; the first of the larger half is the bootstrap node."""
    npm = await stack.enter_async_context(NpmDht())
    bootstrap: list[Address] = []
    if not ours:
        bootstrap = [(host, port) for host, port in (await npm.ask("testnet", size=theirs))["bootstrap"]]
    net = await stack.enter_async_context(Testnet(ours, bootstrap=bootstrap))
    if ours and theirs:
        await npm.ask("testnet", size=theirs, bootstrap=net.bootstrap)
    guest = await net.join(Mode.ADAPTIVE)
    return Setting(net, npm, guest, await npm.join(net.bootstrap))


def run(story: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    problems: list[dict[str, Any]] = []

    async def limited() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            await story(stack)

    asyncio.run(limited())
    assert problems == [], "nothing that a datagram brought may escape into the event loop"


NETWORKS = {"ours": (24, 0), "theirs": (0, 24), "mixed": (15, 15)}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    yield NETWORKS[request.param]


def test_records_are_exchanged_both_ways_with_npm(network: tuple[int, int]) -> None:
    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, *network)
        await announcements(here)
        await mutable_values(here)
        await immutable_values(here)
        await peers_by_key(here)

    run(story)


async def announcements(here: Setting) -> None:
    ours, theirs = os.urandom(32), os.urandom(32)
    put = await here.ask(lambda done: hyper.announce(here.ours, ours, KEY, RELAYS, done))
    assert put.committed >= 19
    assert await here.npm_lookup(ours) == {PeerRecord(KEY.public, RELAYS)}
    await here.npm_ask("announce", topic=theirs, seed=SEED, relays=RELAYS)
    assert await here.lookup(theirs) == {PeerRecord(KEY.public, RELAYS)}

    await here.npm_ask("announce", topic=ours, seed=OTHER, relays=[])
    both = {PeerRecord(KEY.public, RELAYS), PeerRecord(SigningKey.from_seed(OTHER).public)}
    assert await here.lookup(ours) == await here.npm_lookup(ours) == both
    await here.ask(lambda done: hyper.unannounce(here.ours, ours, KEY, done))
    await here.npm_ask("unannounce", topic=theirs, seed=SEED)
    assert await here.lookup(ours) == await here.npm_lookup(ours) == {PeerRecord(SigningKey.from_seed(OTHER).public)}
    assert await here.lookup(theirs) == await here.npm_lookup(theirs) == set()


async def mutable_values(here: Setting) -> None:
    async def get() -> tuple[int, bytes]:
        value: Mutable = await here.ask(lambda done: hyper.mutable_get(here.ours, KEY.public, done))
        return value.seq, value.value

    async def npm_get() -> tuple[int, bytes]:
        value = await here.npm_ask("mutableGet", key=KEY.public, seq=0)
        return value["seq"], bytes.fromhex(value["value"])

    assert (await here.ask(lambda done: hyper.mutable_put(here.ours, KEY, b"first", 1, done))).committed >= 19
    assert await npm_get() == (1, b"first")
    await here.npm_ask("mutablePut", seed=SEED, value=b"second", seq=2)
    assert await get() == await npm_get() == (2, b"second")
    assert (await here.ask(lambda done: hyper.mutable_put(here.ours, KEY, b"late", 1, done))).committed == 0
    assert await get() == (2, b"second")


async def immutable_values(here: Setting) -> None:
    ours, theirs = os.urandom(500), os.urandom(500)
    await here.ask(lambda done: hyper.immutable_put(here.ours, ours, done))
    assert await here.npm_ask("immutableGet", hash=hashed(ours)) == {"value": ours.hex()}
    assert await here.npm_ask("immutablePut", value=theirs) == {"hash": hashed(theirs).hex()}
    assert await here.ask(lambda done: hyper.immutable_get(here.ours, hashed(theirs), done)) == theirs


async def peers_by_key(here: Setting) -> None:
    server = await here.npm_ask("listen", seed=OTHER)
    key = bytes.fromhex(server["key"])
    found: list[tuple[PeerRecord, Reply]] = []
    await here.ask(lambda done: hyper.find_peer(here.ours, hashed(key), lambda *one: found.append(one), done))
    assert {peer for peer, _ in found} == {PeerRecord(key)}
    assert {reply.address for _, reply in found} >= {(host, port) for host, port in server["relays"][-2:]}
    await here.npm.ask("unlisten")
    found.clear()
    await here.ask(lambda done: hyper.find_peer(here.ours, hashed(key), lambda *one: found.append(one), done))
    assert found == []

    await here.ask(lambda done: hyper.announce(here.ours, hashed(KEY.public), KEY, (), done))
    replies = (await here.npm_ask("findPeer", key=KEY.public))["replies"]
    assert len(replies) >= 19
    assert {record(reply["peer"]) for reply in replies} == {PeerRecord(KEY.public)}
    for reply in replies:
        for node in here.net.nodes:
            if here.net.address_of(node) == tuple(reply["from"]):
                forward = node.store.forwards.get(hashed(KEY.public), node.now)
                assert forward is not None
                assert forward.relay == here.net.address_of(here.ours)


def test_our_node_and_npm_find_the_same_closest_nodes(network: tuple[int, int]) -> None:
    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, *network)
        for _ in range(5):
            target = os.urandom(32)
            ours = await here.neighbours(target)
            theirs = (await here.npm_ask("findNode", target=target))["closest"]
            same = {reply.address for reply in ours.closest} & {(host, port) for host, port in theirs}
            assert len(same) >= 18

    run(story)


def test_our_node_and_npm_learn_from_each_other_that_they_are_reachable() -> None:
    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, 24, 0)  # in a few nodes an npm node's first walk ends before its firewall test
        for _ in range(20):
            state = await here.npm.ask("state", node=await here.npm.join(here.net.bootstrap))
            if not state["firewalled"]:
                break
        assert (state["firewalled"], state["ephemeral"]) == (False, True)
        assert state["host"] == "127.0.0.1"
        there = await setting(stack, 0, 7)
        assert there.ours.nat is Nat.OPEN
        assert there.ours.reachable
        assert there.ours.address == there.net.address_of(there.ours)

    run(story)


def test_npm_node_becomes_persistent_in_our_network() -> None:
    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, 6, 0)
        number = await here.npm.join(here.net.bootstrap, ephemeral=False)
        assert (await here.npm.ask("state", node=number))["ephemeral"] is False
        host, port = (
            (await here.npm.ask("state", node=number))["host"],
            (await here.npm.ask("state", node=number))["port"],
        )
        closest = await here.neighbours(os.urandom(32))
        assert (host, port) in {reply.address for reply in closest.closest}

    run(story)


def test_answers_to_bare_requests_match_npm() -> None:
    """The same questions to one of our nodes and to one of npm's."""

    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, 8, 8)
        ours = here.net.address_of(here.net.nodes[3])
        theirs = (await here.neighbours(os.urandom(32))).closest
        mine = {here.net.address_of(node) for node in here.net.nodes}
        npm = next(reply.address for reply in theirs if reply.address not in mine)
        target = os.urandom(32)

        async def answers(to: Address) -> list[object]:
            told: list[object] = []
            for command, value in (
                (LOOKUP, None),
                (MUTABLE_GET, encode_seq(0)),
                (MUTABLE_GET, None),  # without a value: no answer
                (99, None),
                (PLUGIN, None),
            ):
                try:
                    reply = await here.npm_ask("request", to=to, command=command, target=target, value=value)
                except NpmError as error:
                    told.append(str(error))
                else:
                    told.append((reply["error"], reply["value"], reply["token"] is not None, reply["closer"] > 0))
            wrong = await here.npm_ask("request", to=to, command=LOOKUP, target=target, token=bytes(32))
            told.append((wrong["error"], wrong["token"] is not None))
            told.append((await here.npm_ask("ping", to=to))["id"] is not None)
            await here.npm_ask("delayedPing", to=to, delay=20)
            told += await self_signed(to)
            return told

        async def self_signed(to: Address) -> list[object]:
            target = hashed(KEY.public)
            told: list[object] = []
            for seq, value in ((5, b"five"), (5, b"5"), (4, b"four"), (5, b"five")):
                token = (await here.npm_ask("request", to=to, command=MUTABLE_GET, target=target, value=encode_seq(0)))[
                    "token"
                ]
                put = encode_mutable_put(KEY.public, sign_mutable(KEY, seq, value))
                told.append(
                    (
                        await here.npm_ask(
                            "request", to=to, command=MUTABLE_PUT, target=target, value=put, token=bytes.fromhex(token)
                        )
                    )["error"]
                )
            return told

        said, expected = await asyncio.gather(answers(ours), answers(npm))
        # npm says nothing to PLUGIN without a value, we call it unknown
        assert said[4] == (UNKNOWN_COMMAND, None, False, True)
        assert said[:4] + said[5:] == expected[:4] + expected[5:]
        assert said[5] == (INVALID_TOKEN, True)
        assert said[-4:] == [0, 16, 17, 0]

    run(story)


def test_malformed_datagrams_do_not_end_a_node() -> None:
    async def story(stack: AsyncExitStack) -> None:
        here = await setting(stack, 4, 0)
        node = here.net.nodes[1]
        for kind in range(3):
            await here.npm_ask("announce", topic=bytes([kind]) * 32, seed=SEED, relays=RELAYS)
        draw = random.Random(9)
        target = here.net.address_of(node)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=target)
        samples = [
            bytes([3, flags, 1, 2, 127, 0, 0, 1, 9, 9]) + draw.randbytes(draw.randrange(200)) for flags in range(256)
        ] + [bytes([19, flags, 1, 2, 127, 0, 0, 1, 9, 9]) + draw.randbytes(draw.randrange(200)) for flags in range(256)]
        for flags in (4, 12, 20, 28, 8, 24, 10, 26):
            for command in range(12):
                samples.append(
                    bytes([3, flags, 1, 2, 127, 0, 0, 1, 9, 9])
                    + (draw.randbytes(32) if flags & 2 else b"")
                    + bytes([command])
                    + draw.randbytes(32)
                    + bytes([40])
                    + draw.randbytes(40)
                )
        samples += [b"", b"\x03", b"\x13\x00", bytes(1), b"\xff" * 20, draw.randbytes(1400)]
        for sample in samples:
            transport.sendto(sample)
            transport.sendto(sample[: draw.randrange(len(sample) + 1)])
        transport.close()
        for kind in range(3):
            assert await here.npm_lookup(bytes([kind]) * 32) == {PeerRecord(KEY.public, RELAYS)}
        reply = await here.npm_ask("ping", to=target)
        assert bytes.fromhex(reply["id"]) == node.id

    run(story)


def test_signed_records_match_npm_byte_for_byte() -> None:
    async def story(stack: AsyncExitStack) -> None:
        npm = await stack.enter_async_context(NpmDht())
        draw = random.Random(5)
        for bump, seq in ((0, 0), (5, 252), (1_800_000_000_000, 253), (1, 2**40)):
            target, token, id, refresh, value = (draw.randbytes(32) for _ in range(5))
            theirs = await npm.ask(
                "sign",
                seed=SEED,
                target=target,
                token=token,
                nodeId=id,
                relays=RELAYS,
                refresh=refresh,
                bump=bump,
                seq=seq,
                value=value,
            )
            signed = sign_mutable(KEY, seq, value)
            assert theirs == {
                "announce": encode_announce(
                    sign_announce(KEY, target, id, token, RELAYS, refresh=refresh, bump=bump)
                ).hex(),
                "unannounce": hyper.encode_unannounce(KEY, target, id, token).hex(),
                "mutablePut": encode_mutable_put(KEY.public, signed).hex(),
                "mutableValue": encode_mutable(signed).hex(),
            }

    run(story)


def test_nat_sampler_matches_npm() -> None:
    async def story(stack: AsyncExitStack) -> None:
        npm = await stack.enter_async_context(NpmDht())
        draw = random.Random(4)
        for _ in range(60):
            hosts = [f"192.0.2.{at}" for at in range(draw.randint(1, 3))]
            ports = [draw.randint(1, 65535) for _ in range(draw.randint(1, 5))]
            weights = [draw.random() ** 3 for _ in ports]
            samples = [(draw.choice(hosts), draw.choices(ports, weights)[0]) for _ in range(50)]
            sampler = NatSampler()
            ours = []
            for sample in samples:
                sampler.add(sample)
                ours.append([sampler.host, sampler.port])
            assert ours == await npm.ask("sample", samples=samples)

    run(story)
