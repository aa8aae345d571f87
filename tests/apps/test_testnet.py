"""`kithkin testnet` as a process: it prints its bootstrap address, ends on a signal and refuses a port in use."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from tests.support.processes import Stage


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_testnet_prints_its_bootstrap_address_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    async def story() -> None:
        async with (
            Stage(tmp_path / "stage") as stage,
            stage.profile("nobody").dialogue("testnet", "--size", "5") as net,
        ):
            said = await net.line()
            host, port = said["bootstrap"].split(":")
            assert (said["ready"], said["size"], host) == (True, 5, "127.0.0.1") and 0 < int(port) < 65_536
            net.process.send_signal(number)
            assert await net.end() == 0

    asyncio.run(story())


def test_testnet_refuses_a_port_in_use(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
                taken.bind(("127.0.0.1", 0))
                port = str(taken.getsockname()[1])
                said = await stage.profile("nobody").cli("testnet", "--size", "2", "--port", port)
            assert (said.status, said.code) == (1, "not_allowed")
            for wrong in ("0", "1001", "many"):
                said = await stage.profile("nobody").cli("testnet", "--size", wrong)
                assert (said.status, said.code) == (2, "usage")

    asyncio.run(story())
