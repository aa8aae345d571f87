"""Sleeps and changes of network, as the shell notices them and a host's node hears of them."""

from __future__ import annotations

import asyncio

from netstack.dht.events import Ephemeral, Mode, NetworkChanged, Persistent, Woken
from netstack.dht.node import DhtNode
from netstack.shell.host import Host
from netstack.shell.system_monitor import SystemMonitor, outward_host, seconds_asleep


class Machine:
    def __init__(self) -> None:
        self.slept = 100.0
        self.host: str | None = "192.168.1.7"
        self.told: list[str] = []
        self.eyes = SystemMonitor(
            lambda: self.told.append("slept"),
            lambda: self.told.append("moved"),
            seconds_asleep=lambda: self.slept,
            outward=lambda: self.host,
        )

    def look(self, *, slept: float = 0.0, host: str | None = "192.168.1.7") -> list[str]:
        self.slept += slept
        self.host = host
        self.told.clear()
        self.eyes.look()
        return list(self.told)


def test_a_sleep_is_a_drift_of_clocks() -> None:
    machine = Machine()
    assert machine.look() == []
    assert machine.look(slept=2.0) == [], "a clock that is set a little"
    assert machine.look(slept=3600.0) == ["slept"]
    assert machine.look() == []


def test_a_move_is_another_way_out() -> None:
    machine = Machine()
    assert machine.look(host=None) == [], "offline"
    assert machine.look() == [], "and back"
    assert machine.look(host="10.0.0.3") == ["moved"]
    assert machine.look(host=None) == []
    assert machine.look(slept=60.0, host="192.168.1.7") == ["slept", "moved"]


def test_this_machine_answers() -> None:
    assert seconds_asleep() >= -1.0
    assert outward_host() is None or outward_host() != "0.0.0.0"


def test_a_host_passes_on_what_it_notices() -> None:
    async def story() -> None:
        async with Host(mode=Mode.PERSISTENT, public_host="127.0.0.1") as host:
            node = host.dht
            assert isinstance(node, DhtNode)
            await host.ready()
            heard: list[object] = []
            host.watch(heard.append)
            host._slept()
            host._moved()
            await host._progress()
            assert heard[-2:] == [Woken(), NetworkChanged(None, online=True)]
            assert Ephemeral() not in heard, "its address is given, not found out"
            assert Persistent not in map(type, heard)

    asyncio.run(story())
