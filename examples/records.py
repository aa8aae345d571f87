"""Values that the DHT keeps for two days, under their hash or under a public key: `python examples/records.py`."""

import asyncio

from netstack import Host, SigningKey, Testnet

KEY = SigningKey.from_seed(b"not a secret: thirty-two bytes!!")


async def main() -> None:
    async with Testnet(10) as net, Host(bootstrap=net.bootstrap) as writer, Host(bootstrap=net.bootstrap) as reader:
        target = await writer.immutable_put(b"what is found by its hash cannot be changed")
        print(await reader.immutable_get(target))

        await writer.mutable_put(KEY, b"draft", seq=1)
        await writer.mutable_put(KEY, b"what is found by a key, only the key's owner changes", seq=2)
        newest = await reader.mutable_get(KEY.public)
        print(newest.value if newest else None)


asyncio.run(main())
