"""A chat with everybody who says the same word.

    python -m netstack testnet --port 49737                         a network of your own
    python examples/chat.py WORD --bootstrap 127.0.0.1:49737        run it several times
    python examples/chat.py WORD --lan                              this local network alone
    python examples/chat.py WORD --public                           the public network

Lines typed go to everybody; lines of others come with the first digits of their key.
"""

import argparse
import asyncio
import sys
from hashlib import blake2b

from netstack import PUBLIC_NODES, Connection, Swarm, parse_address


async def listen(connection: Connection) -> None:
    name = connection.remote_key.hex()[:6]
    print(f"* {name} is here", flush=True)
    async for frame in connection:
        print(f"{name}: {frame.decode(errors='replace')}", flush=True)
    print(f"* {name} is gone", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("word")
    parser.add_argument("--bootstrap", type=parse_address, action="append", default=[])
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--lan", action="store_true")
    options = parser.parse_args()
    topic = blake2b(options.word.encode(), digest_size=32).digest()
    bootstrap = PUBLIC_NODES if options.public else options.bootstrap

    async with Swarm(bootstrap=bootstrap, lan=options.lan) as swarm, asyncio.TaskGroup() as talks:
        room = swarm.join(topic)

        async def greet() -> None:
            async for connection in room:
                talks.create_task(listen(connection))

        talks.create_task(greet())
        while line := await asyncio.to_thread(sys.stdin.readline):
            for connection in swarm.connections.values():
                connection.send(line.rstrip("\n").encode())
        await room.leave()
        for connection in swarm.connections.values():
            connection.close()


asyncio.run(main())
