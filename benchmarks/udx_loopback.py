"""Raw UDX, process to process on loopback: how many MB/s one stream carries.

    python -m benchmarks.udx_loopback [--megabytes 256] [--rounds 5] [--shell linux|plain|portable]

`plain` is the Linux shell without segmentation offload.  Two processes, no encryption; the time runs from the first
write to the acknowledgement of the last byte.  Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import json
import multiprocessing
import pstats
import statistics
import time
from multiprocessing.connection import Connection

from netstack.shell.udx_port import UdxPort
from netstack.udp.port import ShellName
from netstack.udx.events import Closed, Data, Drained, End, Event
from netstack.udx.stream import UdxStream

_SENDER, _RECEIVER = 1, 2
_CHUNK = 64 * 1024
_SHELLS: tuple[ShellName, ...] = ("linux", "plain", "portable")


async def _receive(pipe: Connection, shell: ShellName) -> None:
    done = asyncio.get_running_loop().create_future()
    total = 0
    digest = hashlib.blake2b()

    def on_events(stream: UdxStream, events: list[Event]) -> None:
        nonlocal total
        for event in events:
            if isinstance(event, Data):
                total += len(event.data)
                if total <= 1 << 20:
                    digest.update(event.data)
            elif isinstance(event, End):
                stream.end()
            elif isinstance(event, Closed) and not done.done():
                done.set_result(event.reason)

    port = await UdxPort.open("127.0.0.1", 0, on_events, shell=shell)
    stream = UdxStream(_RECEIVER)
    port.add(stream)
    pipe.send(port.address)
    port.connect(stream, _SENDER, await asyncio.to_thread(pipe.recv))
    pipe.send("ready")
    reason = await done
    pipe.send((total, str(reason)))
    await asyncio.sleep(0.1)
    await port.close()


async def _send(pipe: Connection, shell: ShellName, megabytes: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    payload = memoryview(bytes(range(256)) * (_CHUNK // 256))
    left = megabytes * (1 << 20) // _CHUNK

    def pump(stream: UdxStream) -> None:
        nonlocal left
        while left:
            left -= 1
            if not stream.write(payload):
                break
        if not left:
            left = -1
            stream.end()
        port.flush()

    def on_events(stream: UdxStream, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Drained) and left >= 0:
                pump(stream)
            elif isinstance(event, Closed) and not done.done():
                done.set_result(event.reason)

    port = await UdxPort.open("127.0.0.1", 0, on_events, shell=shell)
    stream = UdxStream(_SENDER)
    port.add(stream)
    remote = await asyncio.to_thread(pipe.recv)
    pipe.send(port.address)
    await asyncio.to_thread(pipe.recv)
    started = time.perf_counter()
    port.connect(stream, _RECEIVER, remote)
    pump(stream)
    reason = await done
    elapsed = time.perf_counter() - started
    total, _reason = await asyncio.to_thread(pipe.recv)
    await port.close()
    if total != megabytes << 20 or str(reason) != "ended":
        raise SystemExit(f"received {total} bytes, closed: {reason}")
    return {
        "MB/s": round(total / elapsed / 1e6, 1),
        "retransmitted": stream.flight.retransmitted,
        "timeouts": stream.timeouts,
        "srtt_ms": round(stream.rtt.smoothed * 1e3, 3),
        "window": stream.congestion.window,
    }


def _receiver_process(pipe: Connection, shell: ShellName, profile: bool) -> None:
    _run(_receive(pipe, shell), profile)


def _run(work, profile: bool):  # type: ignore[no-untyped-def]
    if not profile:
        return asyncio.run(work)
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        return asyncio.run(work)
    finally:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(22)


def measure(megabytes: int, shell: ShellName, profile: str = "") -> dict[str, float]:
    """One transfer: MB/s (10^6 bytes of payload) and what it took."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_receiver_process, args=(there, shell, profile == "receive"))
    process.start()
    try:
        result: dict[str, float] = _run(_send(here, shell, megabytes), profile == "send")
        return result
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description="UDX over loopback, process to process")
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shell", choices=_SHELLS, default="linux")
    parser.add_argument("--profile", choices=["send", "receive"], default="")
    options = parser.parse_args()
    rounds = [measure(options.megabytes, options.shell, options.profile) for _ in range(options.rounds)]
    speeds = [entry["MB/s"] for entry in rounds]
    print(
        json.dumps(
            {
                "shell": options.shell,
                "megabytes": options.megabytes,
                "median MB/s": statistics.median(speeds),
                "spread": [min(speeds), max(speeds)],
                "rounds": rounds,
            }
        )
    )


if __name__ == "__main__":
    main()
