"""Our side of the NAT tests, beside peer.js: one JSON command a line in, one JSON answer a line out.

python -m tests.network.peer middle ADDRESS...      DHT nodes, one on each address, and a blind relay
python -m tests.network.peer party HOST:PORT        one machine: serve, connect, again, close
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from identity.errors import KithkinError
from identity.keys import SigningKey
from netstack import Address, Connection, Host, Mode, parse_address

PORT = 49737
Words = dict[str, Any]


def say(words: Words) -> None:
    print(json.dumps(words), flush=True)


def echo(connection: Connection) -> None:
    def back(frames: Sequence[bytes]) -> None:
        for frame in frames:
            connection.send(frame)

    connection.on_frames = back


@dataclass
class Node:
    """One host and the connection that it made."""

    host: Host
    connection: Connection | None = None

    def seen(self) -> Words:
        if self.connection is None:
            return {}
        host, port = self.connection.address
        return {"remote": f"{host}:{port}", "path": self.connection.path.value}


class Party:
    """One machine."""

    def __init__(self, bootstrap: Address) -> None:
        self.bootstrap = bootstrap
        self.nodes: dict[int, Node] = {}
        self._count = 0

    async def fresh(self, relay: str | None) -> int:
        host = Host(bootstrap=[self.bootstrap], relay_through=bytes.fromhex(relay) if relay else None)
        await host.start("0.0.0.0", 0)
        self._count += 1
        number = self._count
        self.nodes[number] = Node(host)
        await host.ready()
        return number

    async def serve(self, relay: str | None) -> Words:
        number = await self.fresh(relay)
        host = self.nodes[number].host
        host.on_connection = echo
        key = SigningKey.from_seed(os.urandom(32))
        host.listen(key)
        await host.announced(key.public)
        return {"node": number, "key": key.public.hex()}

    async def connect(self, key: str, relay: str | None, limit: float, node: int | None) -> Words:
        """Connects with a new node, or with the one given."""
        clock = asyncio.get_running_loop().time
        booting = clock()
        number = node or await self.fresh(relay)
        one = self.nodes[number]
        began = clock()
        times: Words = {"boot": (began - booting) * 1000}

        async def dial() -> bytes | None:
            one.connection = await one.host.connect(bytes.fromhex(key))
            times["ms"] = (clock() - began) * 1000
            one.connection.send(b"echo")
            return await one.connection.receive()

        outcome = await within(limit, dial())
        return {**outcome, "node": number, **times, "echo": (clock() - began) * 1000, **one.seen()}

    async def again(self, node: int, limit: float) -> Words:
        """Another echo on the open connection, and its path."""
        one = self.nodes[node]
        assert one.connection is not None
        one.connection.send(b"again")
        return {**await within(limit, one.connection.receive()), **one.seen()}

    async def close(self, node: int) -> Words:
        await self.nodes.pop(node).host.stop()
        return {}

    async def answer(self, words: Words) -> None:
        id = words.pop("id")
        commands: dict[str, Callable[..., Awaitable[Words]]] = {
            "serve": self.serve,
            "connect": self.connect,
            "again": self.again,
            "close": self.close,
        }
        say({"id": id, **await commands[words.pop("do")](**words)})


async def within(limit: float, reply: Awaitable[bytes | None]) -> Words:
    """Whether an answer came within `limit` milliseconds."""
    try:
        async with asyncio.timeout(limit / 1000):
            ok = await reply is not None
            return {"ok": True} if ok else {"ok": False, "error": "closed"}
    except TimeoutError:
        return {"ok": False, "error": "nothing within the limit"}
    except KithkinError as error:
        return {"ok": False, "error": f"{error.code}: {error}"}


async def middle(addresses: Sequence[str]) -> None:
    """Nodes that serve until standard input ends; the second is the relay too."""
    bootstrap = (addresses[0], PORT)
    hosts: list[Host] = []
    for address in addresses:
        host = Host(bootstrap=[bootstrap] if hosts else [], mode=Mode.PERSISTENT, public_host=address)
        await host.start(address, PORT)
        await host.ready()
        hosts.append(host)
    relay = SigningKey.from_seed(os.urandom(32))
    hosts[1].relay_for_others(relay)
    await hosts[1].announced(relay.public)
    say(
        {
            "ready": True,
            "bootstrap": f"{addresses[0]}:{PORT}",
            "relay": relay.public.hex(),
            "relayHost": hosts[1].address[0],
        }
    )
    async for _ in lines():
        pass
    for host in hosts:
        await host.stop()


async def lines() -> AsyncIterator[Words]:
    """The commands on standard input, until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def party(bootstrap: str) -> None:
    machine = Party(parse_address(bootstrap))
    say({"ready": True})
    async with asyncio.TaskGroup() as tasks:
        async for words in lines():
            tasks.create_task(machine.answer(words))
    for node in list(machine.nodes):
        await machine.close(node)


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    asyncio.run(party(rest[0]) if role == "party" else middle(rest))
