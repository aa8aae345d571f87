"""Sleeps and changes of network: detected by the monitor, reported by a host."""

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
        self.monitor = SystemMonitor(
            lambda: self.told.append("slept"),
            lambda: self.told.append("moved"),
            seconds_asleep=lambda: self.slept,
            outward=lambda: self.host,
        )

    def look(self, *, slept: float = 0.0, host: str | None = "192.168.1.7") -> list[str]:
        self.slept += slept
        self.host = host
        self.told.clear()
        self.monitor.look()
        return list(self.told)


def test_sleep_is_detected_by_drifting_clocks() -> None:
    machine = Machine()
    assert machine.look() == []
    assert machine.look(slept=2.0) == [], "a clock that is set a little"
    assert machine.look(slept=3600.0) == ["slept"]
    assert machine.look() == []


def test_network_change_is_detected_by_another_outward_address() -> None:
    machine = Machine()
    assert machine.look(host=None) == [], "offline"
    assert machine.look() == [], "and back"
    assert machine.look(host="10.0.0.3") == ["moved"]
    assert machine.look(host=None) == []
    assert machine.look(slept=60.0, host="192.168.1.7") == ["slept", "moved"]


def test_this_machine_reports_sleep_and_outward_address() -> None:
    assert seconds_asleep() >= -1.0
    assert outward_host() is None or outward_host() != "0.0.0.0"


def test_host_reports_sleep_and_network_change_to_watchers() -> None:
    async def story() -> None:
        async with Host(mode=Mode.PERSISTENT, public_host="127.0.0.1") as host:
            node = host.dht
            assert isinstance(node, DhtNode)
            await host.ready()
            heard: list[object] = []
            changed = asyncio.Event()

            def watch(event: object) -> None:
                heard.append(event)
                if isinstance(event, NetworkChanged):
                    changed.set()

            host.watch(watch)
            host.system_slept()
            host.network_changed()
            await changed.wait()
            assert heard[-2:] == [Woken(), NetworkChanged(None, online=True)]
            assert Ephemeral() not in heard, "its address is given, not found out"
            assert Persistent not in map(type, heard)

    asyncio.run(story())
