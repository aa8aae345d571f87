"""A private DHT: in this process, as a command, and with five hundred nodes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.events import Mode
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome
from netstack.dht.records import LookupReply, PeerRecord
from netstack.shell.testnet import Testnet

ROOT = Path(__file__).resolve().parents[3]
KEY = SigningKey.from_seed(b"k" * 32)
TOPIC = b"t" * 32
LIMIT = 60


def spawn(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "netstack", "testnet", *arguments],
        cwd=ROOT,
        env={**os.environ, "KITHKIN_BOOTSTRAP": "192.0.2.1:1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def announced(net: Testnet, node: DhtNode) -> Outcome:
    def start(done: Callable[[Outcome], None]) -> None:
        hyper.announce(node, TOPIC, KEY, (), done)

    return await net.ask(node, start)


async def found(net: Testnet, seeker: DhtNode) -> tuple[set[PeerRecord], Outcome]:
    seen: set[PeerRecord] = set()

    def heard(peers: LookupReply, by: object) -> None:
        seen.update(peers.peers)

    def start(done: Callable[[Outcome], None]) -> None:
        hyper.lookup(seeker, TOPIC, heard, done)

    return seen, await net.ask(seeker, start)


def test_guests_find_each_other_and_stop_leaves_no_task() -> None:
    async def story() -> None:
        async with Testnet(8) as net:
            assert [node.ephemeral for node in net.nodes] == [False] * 8
            ada, bob = await net.join(), await net.join(Mode.ADAPTIVE)
            assert (await announced(net, ada)).committed == 8
            assert (await found(net, bob))[0] == {PeerRecord(KEY.public)}
            await net.kill(net.nodes[3])
            grown = await net.grow()
            assert len(net.nodes) == 8
            assert (await found(net, grown))[0] == {PeerRecord(KEY.public)}
        gc.collect()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


def test_taken_port_raises_oserror() -> None:
    async def story() -> None:
        async with Testnet(1) as net:
            with pytest.raises(OSError, match="in use"):
                await Testnet(2, port=net.bootstrap[0][1]).start()

    asyncio.run(story())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_command_prints_its_address_and_exits_0_on_a_signal(end: signal.Signals) -> None:
    process = spawn("--size", "5")
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        assert ready["size"] == 5
        assert ready["bootstrap"].startswith("127.0.0.1:")
        process.send_signal(end)
        rest, errors = process.communicate(timeout=LIMIT)
        assert (process.returncode, rest, errors) == (0, b"", b"")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("arguments", [("--size", "0"), ("--size", "many"), ("--port", "99999")])
def test_testnet_refuses_wrong_arguments(arguments: tuple[str, ...]) -> None:
    process = spawn(*arguments)
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert json.loads(out)["error"]["code"] == "usage"


def test_five_hundred_nodes_run_in_one_process_with_one_timer() -> None:
    async def story() -> None:
        async with Testnet(500) as net:
            guest = await net.join()
            await announced(net, guest)
            peers, outcome = await found(net, guest)
            assert peers == {PeerRecord(KEY.public)}
            assert len(outcome.closest) == 20
            assert len(asyncio.all_tasks()) == 1, "one timer for all, no task a node"

    asyncio.run(story())
