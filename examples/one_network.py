"""Two peers of one local network connect without any server, DHT or internet: `python examples/one_network.py`.

Here on the loopback interface, so that it runs anywhere; `lan=True` uses all private networks of the machine.
"""

import asyncio
from hashlib import blake2b

from netstack import Swarm

TOPIC = blake2b(b"an example of the kithkin netstack", digest_size=32).digest()


async def main() -> None:
    async with Swarm(lan=["127.0.0.1"]) as ada, Swarm(lan=["127.0.0.1"]) as bob:
        ada.join(TOPIC)
        async for connection in bob.join(TOPIC):
            print("met", connection.remote_key == ada.key.public)
            return


asyncio.run(main())
