"""Two machines of one network connect without a DHT, and a third one that listens learns nothing of them."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from hashlib import blake2b

from netstack import Swarm
from netstack.swarm.core.lan import LABEL
from tests.network.parties import ROOT
from tests.network.router import Nat
from tests.network.topology import Host, Internet

DEAD = ("44.128.200.2", 49737)
TOPIC = blake2b(b"a topic", digest_size=32).digest()
GROUP, PORT = "224.0.0.251", 5353
LIMIT = 60


def test_swarms_on_one_lan_connect_without_a_dht_and_reveal_nothing(net: Internet) -> None:
    home = net.router("home", Nat.MASQUERADE)
    ada, bob, eve = (net.host(home, name) for name in ("ada", "bob", "eve"))

    async def story() -> tuple[list[dict[str, str]], list[bytes]]:
        air: list[bytes] = []
        with eve.space.entered():
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.bind((GROUP, PORT))
            membership = socket.inet_aton(GROUP) + socket.inet_aton(eve.address)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        ear.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(ear, lambda: air.append(ear.recv(9000)))
        try:
            async with asyncio.timeout(LIMIT):
                told = [json.loads(line) for line in await asyncio.gather(peer(ada), peer(bob))]
        finally:
            loop.remove_reader(ear)
            ear.close()
        return told, air

    told, air = asyncio.run(story())
    assert [one["met"] for one in told] == [told[1]["key"], told[0]["key"]]
    assert {one["path"] for one in told} <= {"direct", "lan"}
    heard = b"".join(air)
    assert b"_swarm" in heard and all(socket.inet_aton(host.address) in heard for host in (ada, bob))
    secrets = [TOPIC, *(bytes.fromhex(one["key"]) for one in told)]
    for secret in secrets:
        assert secret not in heard and secret.hex().encode() not in heard
    assert len(names(air)) == 2 * 2  # each at the topic, and under its own key


def names(air: list[bytes]) -> set[bytes]:
    """The instance names in mDNS packets: a byte with their length, then that many letters of base32."""
    found = set()
    for packet in air:
        for at in range(len(packet) - LABEL):
            label = packet[at + 1 : at + 1 + LABEL]
            if packet[at] == LABEL and label.isalnum() and label.islower():
                found.add(label)
    return found


async def peer(host: Host) -> bytes:
    """The line that a swarm on that machine prints once it is connected."""
    command = host.space.command(sys.executable, "-m", __name__, TOPIC.hex())
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told


async def meet(topic: bytes) -> None:
    async with Swarm(bootstrap=[DEAD], lan=True) as swarm:
        async for connection in swarm.join(topic):
            connection.send(b"hello")
            if await connection.receive() == b"hello":
                line = {"key": swarm.key.public.hex(), "met": connection.remote_key.hex(), "path": connection.path}
                print(json.dumps(line), flush=True)
                connection.end()
                await connection.wait_closed()
                return


if __name__ == "__main__":
    asyncio.run(meet(bytes.fromhex(sys.argv[1])))
