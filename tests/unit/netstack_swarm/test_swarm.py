"""Swarms on real sockets: peers of one topic get one connection each, whenever they join and whichever leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b

import pytest

from identity.keys import SigningKey
from netstack import Connection, PeerInfo, Swarm, Testnet

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


def on(net: Testnet, key: SigningKey | None = None) -> Swarm:
    return Swarm(key, bootstrap=net.bootstrap, host="127.0.0.1")


async def first(swarm: Swarm, number: int, *, server: bool = True, client: bool = True) -> Connection:
    async for connection in swarm.join(topic(number), server=server, client=client):
        return connection
    raise AssertionError("the swarm ended")


async def meet(ada: Swarm, bob: Swarm, number: int, apart: float) -> tuple[Connection, Connection]:
    """Both ends of the one connection that both keep.  Of two that cross, either may be told of the loser first."""
    met = asyncio.Event()

    async def read(swarm: Swarm, wait: float) -> None:
        await asyncio.sleep(wait)
        async for _ in swarm.join(topic(number)):
            mine, theirs = ada.connections.get(bob.key.public), bob.connections.get(ada.key.public)
            if mine is not None and theirs is not None and mine.handshake_hash == theirs.handshake_hash:
                met.set()

    readers = asyncio.gather(read(ada, 0.0), read(bob, apart))
    await met.wait()
    readers.cancel()
    await asyncio.gather(readers, return_exceptions=True)
    return ada.connections[bob.key.public], bob.connections[ada.key.public]


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.3], ids=["at one instant", "20 ms apart", "300 ms apart"])
def test_two_peers_that_join_a_topic_connect_twenty_times_of_twenty(apart: float) -> None:
    async def story() -> None:
        async with Testnet(10) as net:

            async def once(number: int) -> None:
                async with on(net) as ada, on(net) as bob:
                    await asyncio.gather(ada.host.ready(), bob.host.ready())
                    mine, theirs = await meet(ada, bob, number, apart)
                    mine.send(b"hello")
                    assert await theirs.receive() == b"hello"
                    assert list(ada.connections) == [bob.key.public] and list(bob.connections) == [ada.key.public]

            for five in range(0, 20, 5):
                await asyncio.gather(*(once(number) for number in range(five, five + 5)))

    run(story)


def test_three_peers_share_topics_join_by_key_ban_and_leave() -> None:
    async def story() -> None:
        async with Testnet(10) as net, on(net, ADA) as ada, on(net, BOB) as bob, on(net, CLEO) as cleo:
            handle = ada.join(topic(0), client=False)
            assert await handle.flushed()
            to_ada = await first(bob, 0, server=False)
            info = bob.peer(ADA.public)
            assert to_ada.initiator and info is not None
            assert (info.topics, info.proven, info.connected) == (frozenset({topic(0)}), True, True)
            assert await bob.flush()

            # one connection, although two topics are shared
            second = ada.join(topic(1))
            assert await second.flushed()
            assert await first(bob, 1) is to_ada
            assert len(ada.connections) == len(bob.connections) == 1

            # by key without any topic, and a ban
            cleo.join_peer(ADA.public)
            async for connection in cleo:
                assert connection.remote_key == ADA.public
                ada.ban(CLEO.public)
                await connection.wait_closed()
                break
            assert list(ada.connections) == [BOB.public]

            # a lost connection is dialled again
            again = aiter(bob)
            assert await anext(again) is to_ada
            to_ada.abort()
            assert (await anext(again)).remote_key == ADA.public

            # roles and handles
            extra = ada.join(topic(1), server=False)
            assert ada.status().topics == {topic(0): (True, False), topic(1): (True, True)}
            await second.leave()
            assert ada.status().topics == {topic(0): (True, False), topic(1): (False, True)}
            await extra.leave()
            await ada.leave(topic(0))
            assert ada.status().topics == {} and [connection async for connection in handle] == []
            status = bob.status()
            assert (status.key, status.peers.connected, status.host.online) == (BOB.public, 1, True)

    run(story)


def test_suspended_swarm_closes_connections_and_resumes() -> None:
    async def story() -> None:
        async with Testnet(10) as net, on(net, ADA) as ada, on(net, BOB) as bob:
            assert await ada.join(topic(0)).flushed()
            connection = await first(bob, 0)
            connections = aiter(bob)
            assert await anext(connections) is connection
            await ada.suspend()
            await connection.wait_closed()
            assert ada.connections == {} and ada.status().peers.connected == 0
            ada.resume()
            assert (await anext(connections)).remote_key == ADA.public

    run(story)


def test_swarm_raises_outside_of_start_and_close() -> None:
    async def story() -> None:
        swarm = Swarm(ADA, host="127.0.0.1")
        for state in ("not started", "closed"):
            if state == "closed":
                await swarm.start()
                await swarm.close()
            for use in (lambda: swarm.join(topic(0)), lambda: swarm.join_peer(BOB.public), swarm.listen):
                with pytest.raises(ValueError, match="not running"):
                    use()
            async with Swarm(BOB, host="127.0.0.1") as other:
                with pytest.raises(ValueError, match="32 bytes"):
                    other.join(b"short")
            await swarm.close()
            await swarm.close()

    run(story)


def test_close_at_any_moment_of_connecting_leaves_no_task() -> None:
    async def story() -> None:
        async with Testnet(6) as net:
            for moment in range(16):
                async with on(net) as ada, on(net) as bob:
                    assert await ada.join(topic(moment), client=False).flushed()
                    bob.join(topic(moment), server=False)
                    await asyncio.sleep(moment * 1e-3)
                assert asyncio.all_tasks() == {asyncio.current_task()}

    run(story)


def test_unaccepted_peer_is_neither_dialled_nor_answered() -> None:
    async def story() -> None:
        def only_bob(key: bytes) -> bool:
            return key == BOB.public

        async with (
            Testnet(10) as net,
            Swarm(ADA, bootstrap=net.bootstrap, host="127.0.0.1", accept=only_bob) as ada,
            on(net, BOB) as bob,
            on(net, CLEO) as cleo,
        ):
            assert await cleo.join(topic(0), client=False).flushed()
            handle = ada.join(topic(0))
            assert await handle.flushed()
            assert ada.status().peers.known == 0  # Cleo was found and is not remembered
            cleo.join_peer(ADA.public)
            assert (await first(bob, 0)).remote_key in (ADA.public, CLEO.public)
            async for connection in handle:
                assert connection.remote_key == BOB.public
                break

    run(story)


def test_peers_of_one_network_connect_by_topic_and_by_key_without_a_dht() -> None:
    async def story() -> None:
        lo = ["127.0.0.1"]
        async with (
            Swarm(ADA, lan=lo, host="127.0.0.1") as ada,
            Swarm(BOB, lan=lo, host="127.0.0.1") as bob,
            Swarm(CLEO, lan=lo, host="127.0.0.1") as cleo,
        ):
            mine, theirs = await asyncio.gather(first(ada, 0), first(bob, 0))
            assert mine.handshake_hash == theirs.handshake_hash
            cleo.join_peer(BOB.public)
            async for connection in cleo:
                assert connection.remote_key == BOB.public
                break
            assert ada.status().networks == ("127.0.0.1",) and await ada.flush()

    run(story)


def test_error_in_on_connection_ends_that_connection_alone() -> None:
    async def story() -> None:
        mistakes: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: mistakes.append(context))

        def mistaken(connection: Connection, info: PeerInfo) -> None:
            if info.key == BOB.public:
                raise ZeroDivisionError

        async with Testnet(4) as net, on(net, ADA) as ada, on(net, BOB) as bob, on(net, CLEO) as cleo:
            ada.on_connection = mistaken
            ada.join(topic(0), client=False)
            bobs = await first(bob, 0, server=False)
            await bobs.wait_closed()
            assert {type(context["exception"]) for context in mistakes} == {ZeroDivisionError}
            to_ada = await first(cleo, 0, server=False)
            assert to_ada.remote_key == ADA.public and not to_ada.closed

    run(story)
