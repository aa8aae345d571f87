"""A server that is found by its key alone, also from behind a router: `python examples/by_key.py`."""

import asyncio
from collections.abc import Sequence

from netstack import Connection, Host, SigningKey, Testnet

KEY = SigningKey.from_seed(b"not a secret: thirty-two bytes!!")


def echo(connection: Connection) -> None:
    def back(frames: Sequence[bytes]) -> None:
        for frame in frames:
            connection.send(frame)

    connection.on_frames = back


async def main() -> None:
    async with Testnet(10) as net, Host(bootstrap=net.bootstrap) as server, Host(bootstrap=net.bootstrap) as client:
        server.on_connection = echo
        server.listen(KEY)
        await server.announced(KEY.public)

        connection = await client.connect(KEY.public)
        connection.send(b"anybody there?")
        print("echo:", await connection.receive(), "over", connection.path)


asyncio.run(main())
