"""Two peers join one topic and connect: `python examples/meet.py`, with a network of ten nodes in one process."""

import asyncio
from hashlib import blake2b

from netstack import Swarm, Testnet

TOPIC = blake2b(b"an example of the kithkin netstack", digest_size=32).digest()


async def greet(name: str, swarm: Swarm) -> None:
    async for connection in swarm.join(TOPIC):
        connection.send(f"hello from {name}".encode())
        heard = await connection.receive()
        print(f"{name} heard: {(heard or b'').decode()}")
        return


async def main() -> None:
    async with Testnet(10) as net, Swarm(bootstrap=net.bootstrap) as ada, Swarm(bootstrap=net.bootstrap) as bob:
        await asyncio.gather(greet("ada", ada), greet("bob", bob))


asyncio.run(main())
