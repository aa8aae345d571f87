"""The commands of `python -m netstack`: the network layer alone, without a profile (`cli.md`, last section)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from identity.errors import KithkinError
from identity.keys import SigningKey
from netstack.dht.events import Mode
from netstack.limits import Limits
from netstack.shell.connection import Connection
from netstack.shell.host import Host
from netstack.shell.testnet import Testnet
from netstack.udp.port import Address
from netstack.wire.secret_stream import MAX_FRAME

CHUNK = 64 * 1024
REANNOUNCE = 600.0  # seconds
RAW = Limits(frame=MAX_FRAME)  # a pipe may carry pieces of any size


def say(**line: object) -> None:
    """Prints one JSON object on a line of standard output."""
    print(json.dumps(line), flush=True)


def reachable(bound: Address) -> str:
    """A bound address as "host:port" that works from this machine."""
    host = "127.0.0.1" if bound[0] == "0.0.0.0" else bound[0]
    return f"{host}:{bound[1]}"


def joining(options: Namespace) -> Host:
    """A host in the DHT that the options name, if any."""
    through = getattr(options, "relay_through", None)
    return Host(limits=RAW, bootstrap=options.bootstrap, relay_through=through)


async def node(options: Namespace) -> int:
    """`node`: a DHT node that stores for others from the start, until a signal.  Its address must be reachable."""
    stop = signalled()
    public = options.public_host or (options.host if options.host != "0.0.0.0" else "127.0.0.1")
    host = Host(limits=RAW, bootstrap=options.bootstrap, mode=Mode.PERSISTENT, public_host=public)
    async with await started(host, options.host, options.port):
        if not await first(asyncio.ensure_future(host.ready()), stop):
            return 0
        if options.relay is not None:
            key = SigningKey.from_seed(options.relay)
            host.relay_for_others(key)
            await host.announced(key.public)
            say(ready=True, address=reachable(host.address), relay=key.public.hex())
        else:
            say(ready=True, address=reachable(host.address))
        await stop.wait()
    return 0


async def announce(options: Namespace) -> int:
    """`announce`: as `echo`, announced under a topic."""
    if not options.bootstrap:
        raise KithkinError("usage", "a topic needs a DHT: give --bootstrap")
    return await echo(options, options.topic)


async def lookup(options: Namespace) -> int:
    """`lookup`: prints every peer that announced under a topic."""
    if not options.bootstrap:
        raise KithkinError("usage", "a look-up needs a DHT: give --bootstrap")
    found = 0
    async with await started(joining(options), options.host, options.port) as host:
        await host.ready()
        async for peer in host.lookup(options.topic):
            say(peer=peer.key.hex(), relays=[f"{address}:{port}" for address, port in peer.relays])
            found += 1
    say(found=found)
    return 0


async def echo(options: Namespace, topic: bytes | None = None) -> int:
    """`echo`: echoes on every connection, until a signal."""
    stop = signalled()
    key = SigningKey.from_seed(options.seed or os.urandom(32))
    tasks: set[asyncio.Task[None]] = set()

    def greet(connection: Connection) -> None:
        if topic is not None:
            say(peer=connection.remote_key.hex())
        task = asyncio.create_task(echo_one(connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with await started(joining(options), options.host, options.port) as host:
        host.on_connection = greet
        host.listen(key)
        if host.dht is not None and not await first(asyncio.ensure_future(host.announced(key.public)), stop):
            return 0
        if topic is not None:
            await host.announce(topic, key)
        say(ready=True, key=key.public.hex(), address=reachable(host.address))
        await first(asyncio.ensure_future(again(host, key, topic)), stop)
    await asyncio.gather(*tasks, return_exceptions=True)
    return 0


async def again(host: Host, key: SigningKey, topic: bytes | None) -> None:
    """Announces under the topic again and again: records expire after 20 minutes."""
    while True:
        await asyncio.sleep(REANNOUNCE)
        if topic is not None:
            await host.announce(topic, key)


async def echo_one(connection: Connection) -> None:
    """Sends back every frame of one connection until the peer ends."""
    connection.half_open = True  # waiting frames are echoed before we end
    with contextlib.suppress(ConnectionResetError):
        async for frame in connection:
            if not connection.send(frame):
                await connection.drain()
    connection.end()


async def connect(options: Namespace) -> int:
    """`connect`: pipes standard input to the peer and its bytes to standard output."""
    stop = signalled()
    if not options.address and not options.bootstrap:
        raise KithkinError("not_found", "no address of that peer is known: give one with --address, or --bootstrap")
    async with await started(joining(options), options.host, options.port) as host:
        if not await first(asyncio.ensure_future(host.ready()), stop):
            return 0
        dial = asyncio.ensure_future(host.connect(options.key, options.address or ()))
        if not await first(dial, stop):
            return 0
        connection = dial.result()
        if options.tell:
            print(json.dumps({"path": connection.path, "rtt": round(connection.rtt, 6)}), file=sys.stderr, flush=True)
        connection.half_open = True
        feeding = asyncio.create_task(feed(connection))
        draining = asyncio.create_task(drain(connection))
        try:
            if not await first(draining, stop):
                return 0
            draining.result()
            if not connection.ended:
                raise KithkinError("timeout", f"the connection broke: {connection.reason}")
            # the peer has ended: we do not wait for it to read the rest, only for our own end
            connection.end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), 5)
            return 0
        finally:
            for task in (feeding, draining):
                task.cancel()
            await asyncio.gather(feeding, draining, return_exceptions=True)


async def feed(connection: Connection) -> None:
    """Sends standard input, then ends."""
    reader = await standard_input()
    with contextlib.suppress(ConnectionResetError):
        while chunk := await reader():
            if not connection.send(chunk):
                await connection.drain()
        connection.end()


async def drain(connection: Connection) -> None:
    """Writes the peer's bytes to standard output until its end."""
    write = await standard_output()
    async for frame in connection:
        await write(frame)


async def throughput(options: Namespace) -> int:
    """`throughput`: the receiving process; it starts the sending one and prints what it measured."""
    if options.source is not None:
        return await source(options)
    total = options.mb << 20
    done = asyncio.Event()
    clock = asyncio.get_running_loop().time
    began = ended = 0.0
    received = 0

    def sink(connection: Connection) -> None:
        def count(frames: Sequence[bytes]) -> None:
            nonlocal began, ended, received
            now = clock()
            began = began or now
            received += sum(map(len, frames))
            if received >= total:
                ended = now
                done.set()

        connection.on_frames = count
        connection.on_close = lambda reason: done.set()

    key = SigningKey.from_seed(os.urandom(32))
    async with await started(Host(), "127.0.0.1", 0) as host:
        host.on_connection = sink
        host.listen(key)
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "netstack", "throughput", "--mb", str(options.mb),
            "--source", key.public.hex(), "--address", reachable(host.address),
        )  # fmt: skip
        gone, arrived = asyncio.ensure_future(sender.wait()), asyncio.ensure_future(done.wait())
        try:
            await asyncio.wait({gone, arrived}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({gone}, timeout=5)
        finally:
            arrived.cancel()
            if sender.returncode is None:
                sender.kill()
            await gone
    if received < total:
        raise KithkinError("timeout", f"only {received} of {total} bytes arrived")
    seconds = max(ended - began, 1e-9)
    say(bytes=total, seconds=round(seconds, 6), mb_s=round(total / seconds / 1e6, 1))
    return 0


async def source(options: Namespace) -> int:
    """`throughput --source`: the sending process."""
    frame = os.urandom(CHUNK)
    async with await started(Host(), "127.0.0.1", 0) as host:
        connection = await host.connect(options.source, options.address)
        for _ in range((options.mb << 20) // CHUNK):
            if not connection.send(frame):
                await connection.drain()
        connection.end()
        await connection.wait_closed()
    return 0


async def testnet(options: Namespace) -> int:
    """`testnet`: a private DHT on loopback, until a signal."""
    stop = signalled()
    net = Testnet(options.size, port=options.port)
    starting = asyncio.ensure_future(net.start())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            host, port = net.bootstrap[0]
            say(ready=True, bootstrap=f"{host}:{port}", size=len(net.nodes))
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task
        await net.stop()
    return 0


# the edges of the process


def signalled() -> asyncio.Event:
    """An event that SIGINT, SIGTERM and SIGHUP set.  A SIGHUP that was ignored stays so: that is what `nohup` is."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _ends():
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


def _ends() -> list[signal.Signals]:
    ends = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    return ends


async def started(host: Host, address: str, port: int) -> Host:
    """Binds a host and returns it.  Raises KithkinError `usage` where the address cannot be bound."""
    try:
        await host.start(address, port)
    except OSError as error:
        raise KithkinError("usage", f"cannot bind {address}:{port}: {error.strerror or error}") from None
    return host


async def first(task: asyncio.Future[Any], event: asyncio.Event) -> bool:
    """Waits for the first of both: True if `task` is done; else it is cancelled."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return task.done()
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def standard_input() -> Callable[[], Awaitable[bytes]]:
    """A function that reads a piece of standard input, b"" at the end."""
    loop = asyncio.get_running_loop()
    if not waits(sys.stdin.fileno()):
        return lambda: loop.run_in_executor(None, os.read, sys.stdin.fileno(), CHUNK)  # a file blocks only briefly
    reader = asyncio.StreamReader(limit=4 * CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    return lambda: reader.read(CHUNK)


async def standard_output() -> Callable[[bytes], Awaitable[None]]:
    """A function that writes all of its argument to standard output, and waits while the reader is slow."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdout.fileno()
    if not waits(descriptor):

        async def plain(data: bytes) -> None:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

        return plain
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), sys.stdout.buffer
    )
    transport.set_write_buffer_limits(high=0)  # `drain` then waits until all of it has left this process
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def piped(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return piped


def waits(descriptor: int) -> bool:
    """Whether the event loop can wait for this descriptor: a pipe, a socket or a terminal."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
