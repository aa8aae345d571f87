"""Publishes and reads the names of `core/lan.py` by multicast DNS: PyPI `zeroconf`, one instance for each network.

    async with Mdns(port) as mdns:                          port: where our node answers on UDP
        mdns.join(topic, key, on_peer=lambda key, addresses: ...)
        mdns.leave(topic)

Each network has its own names, which carry this machine's address in that network alone.  Our networks are read again
every ten seconds, since not every system reports their changes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import ifaddr
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from identity.keys import Random
from netstack.swarm.core.lan import Lan, Notice, PeerFound, Publish, Withdraw, local
from netstack.udp.port import Address

SERVICE = "_swarm._udp.local."  # names the kind of service, as mDNS requires, and neither product nor owner
TEXT = b"n"
TTL = 240  # seconds that others remember a name; the default of 75 minutes outlives most visits
LOOK = 10.0  # seconds between reads of our networks and of the date
ASK = 2000  # milliseconds to wait for missing records of a name
MAX_ASKING = 16  # such queries at once
MAX_NETWORKS = 8
IP_MULTICAST_ALL = 49  # Linux, <linux/in.h>; the socket module does not name it

OnPeer = Callable[[bytes, tuple[Address, ...]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """One rendezvous that the owner joined; `Mdns.join` returns it."""

    key: bytes | None
    on_peer: OnPeer | None


class Network:
    """One local network, by our address in it: names published and names heard there."""

    def __init__(self, address: str, port: int, lan: Lan, on_found: Callable[[PeerFound], None]) -> None:
        self.lan = lan
        self._address = address
        self._port = port
        self._on_found = on_found
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._published: dict[str, AsyncServiceInfo] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[str] = set()
        self._order = asyncio.Lock()  # publishes and withdraws in the order of the effects

    async def start(self) -> None:
        """Opens the multicast sockets.  Raises OSError where this network allows none."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((self._address, 0))  # zeroconf leaks a socket where the address is not ours
        zeroconf = AsyncZeroconf(interfaces=[self._address], ip_version=IPVersion.V4Only)
        await zeroconf.zeroconf.async_wait_for_start()
        listen_here_alone(zeroconf.zeroconf)
        self._zeroconf = zeroconf
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._changed])
        self.serve()

    async def close(self) -> None:
        """Withdraws every name.  Leaves no task and no socket."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        zeroconf, self._zeroconf = self._zeroconf, None
        if self._browser is not None:
            await self._browser.async_cancel()
        if zeroconf is not None:
            await zeroconf.async_close()

    def serve(self) -> None:
        """Carries out what the core decided."""
        for effect in self.lan.take_effects():
            match effect:
                case PeerFound():
                    self._on_found(effect)
                case Publish(notice):
                    self._spawn(self._publish(notice))
                case Withdraw(notice):
                    self._spawn(self._withdraw(notice))

    # inner

    async def _publish(self, notice: Notice) -> None:
        async with self._order:
            if self._zeroconf is None:
                return
            name = f"{notice.label}.{SERVICE}"
            info = AsyncServiceInfo(
                SERVICE,
                name,
                addresses=[socket.inet_aton(self._address)],
                port=self._port,
                properties={TEXT: notice.body},
                server=f"{notice.label}.local.",
                host_ttl=TTL // 2,
                other_ttl=TTL,
            )
            self._published[notice.label] = info
            # eight random bytes need not ask whether the name is free
            repeat = await self._zeroconf.async_register_service(info, cooperating_responders=True)
        await repeat

    async def _withdraw(self, notice: Notice) -> None:
        async with self._order:
            info = self._published.pop(notice.label, None)
            if self._zeroconf is None or info is None:
                return
            repeat = await self._zeroconf.async_unregister_service(info)
        await repeat

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:  # the parameters' names are zeroconf's
        label = name.removesuffix(f".{SERVICE}")
        if state_change is ServiceStateChange.Removed:
            self.lan.gone(label)
            return
        info = AsyncServiceInfo(SERVICE, name)
        if info.load_from_cache(zeroconf):
            self._heard(label, info)
        elif self.lan.known(label) and label not in self._asking and len(self._asking) < MAX_ASKING:
            self._asking.add(label)
            self._spawn(self._ask(label, info, zeroconf))

    async def _ask(self, label: str, info: AsyncServiceInfo, zeroconf: Zeroconf) -> None:
        try:
            if await info.async_request(zeroconf, ASK):
                self._heard(label, info)
        finally:
            self._asking.discard(label)

    def _heard(self, label: str, info: AsyncServiceInfo) -> None:
        body = info.properties.get(TEXT) or b""
        self.lan.heard(label, body, info.port or 0, info.parsed_addresses(IPVersion.V4Only))
        self.serve()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Coroutine[None, None, None]) -> None:
        """Ignores errors of a network that went away; `_look` removes it."""
        with suppress(ZeroconfError, OSError, asyncio.TimeoutError):
            await work


class Mdns:
    """Joins rendezvous on all our local networks.

    `port`: the UDP port that names carry.  `interfaces`: our addresses to use, None for every private IPv4 address but
    loopback.  `clock()`: Unix time in seconds, from which the day of the names follows.
    """

    def __init__(
        self,
        port: int,
        *,
        interfaces: Sequence[str] | None = None,
        rng: Random = os.urandom,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._port = port
        self._interfaces = interfaces
        self._rng = rng
        self._clock = clock
        self._registrations: dict[bytes, Registration] = {}
        self._networks: dict[str, Network] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when names can be heard; networks that fail are tried again later."""
        await self._look()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Withdraws every name on every network.  May be called twice."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        networks, self._networks = self._networks, {}
        await asyncio.gather(*(network.close() for network in networks.values()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def networks(self) -> list[str]:
        """Our addresses in the networks where we are heard."""
        return list(self._networks)

    def join(self, rendezvous: bytes, key: bytes | None, on_peer: OnPeer | None = None) -> Registration:
        """Publishes `key` at a rendezvous of 32 bytes unless it is None, and reports other keys there to `on_peer`.

        `on_peer(their key, their addresses)` may be called again for a peer that moved or came back.  A later join of
        the same rendezvous replaces this one.
        """
        registration = self._registrations[rendezvous] = Registration(key, on_peer)
        for network in self._networks.values():
            network.lan.join(rendezvous, key, client=on_peer is not None)
            network.serve()
        return registration

    def leave(self, rendezvous: bytes, registration: Registration | None = None) -> None:
        """Ends `join`; given its registration, only if no later one replaced it."""
        if rendezvous in self._registrations and registration in (None, self._registrations[rendezvous]):
            del self._registrations[rendezvous]
            for network in self._networks.values():
                network.lan.leave(rendezvous)
                network.serve()

    # inner

    def _found(self, found: PeerFound) -> None:
        registration = self._registrations.get(found.rendezvous)
        if registration is not None and registration.on_peer is not None:
            registration.on_peer(found.key, found.addresses)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            with suppress(OSError, ZeroconfError):  # the next look tries again
                await self._look()

    async def _look(self) -> None:
        """Adds and removes networks as our addresses changed, and tells every network the day."""
        addresses = self._interfaces if self._interfaces is not None else our_addresses()
        for address in [address for address in self._networks if address not in addresses]:
            await self._networks.pop(address).close()
        day, now = self._day(), asyncio.get_running_loop().time()
        for network in self._networks.values():
            network.lan.wake(day, now)
            network.serve()
        for address in addresses[:MAX_NETWORKS]:
            if address not in self._networks:
                await self._enter(address)

    async def _enter(self, address: str) -> None:
        network = Network(address, self._port, Lan(self._rng, self._day()), self._found)
        with suppress(OSError, ZeroconfError):
            await network.start()
            self._networks[address] = network
            for rendezvous, registration in self._registrations.items():
                network.lan.join(rendezvous, registration.key, client=registration.on_peer is not None)
            network.serve()

    def _day(self) -> int:
        return int(self._clock() // 86_400)


def our_addresses() -> list[str]:
    """Our addresses in private networks, as text, in a stable order."""
    found = {ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)}
    return sorted(address for address in found if local(address) and not address.startswith("127."))


def listen_here_alone(zeroconf: Zeroconf) -> None:
    """Restricts multicast reception to this socket's own network.

    Linux delivers to a socket the multicast of every network that any process joined; answering a query of another
    network would tell it the names of this one.
    """
    if sys.platform != "linux":
        return
    for reader in zeroconf.engine.readers:
        with suppress(OSError):
            reader.sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
