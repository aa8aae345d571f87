"""My profile and my devices, and who is connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.later import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, brief, clock, day, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    name: str
    about: str
    this: bool
    active: bool


@dataclass(frozen=True, slots=True)
class DevicesState:
    """`network` says how many are connected; `notice` is news about a device of mine, to be seen once."""

    name: str = ""
    initials: str = ""
    shade: int = 0
    identity: str = ""
    devices: tuple[Device, ...] = ()
    network: str = ""
    notice: str = ""
    busy: bool = False
    problem: str = ""


class Devices(ViewModel[DevicesState]):
    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(DevicesState())
        self._service = service
        self._now = now
        self._listed: dict[str, models.Device] = {}
        self._peers: dict[str, models.Peer] = {}
        self._loading = Coalesced(self.load)

    async def load(self) -> None:
        with self._working():
            profile = await self._service.profile()
            listed = (await self._service.devices()).devices
            status = await self._service.status()
            self._listed = {device.id: device for device in listed}
            self._peers = {peer.device: peer for peer in status.peers}
            self._become(
                name=one_line(profile.name, MAX_TITLE),
                initials=initials(profile.name),
                shade=shade(profile.name),
                identity=profile.identity,
            )
            self._draw()

    def _draw(self) -> None:
        devices = tuple(self._device(device) for device in self._listed.values())
        count = len(self._peers)
        words = (
            "Nobody is connected" if not count else "1 device connected" if count == 1 else f"{count} devices connected"
        )
        self._become(devices=devices, network=words)

    def _device(self, device: models.Device) -> Device:
        if device.this:
            about = "This device"
        elif device.id in self._peers:
            about = "Connected now"
        elif device.state == "revoked":
            about = "Revoked"
        elif device.last_seen is not None:
            now = self._now()
            today = day(device.last_seen, now) == "Today"
            about = "Last seen " + (f"at {clock(device.last_seen)}" if today else brief(device.last_seen, now))
        else:
            about = "Not seen yet"
        return Device(device.id, one_line(device.name, MAX_TITLE), about, device.this, device.state == "active")

    def peer(self, peer: models.Peer, connected: bool) -> None:
        if connected:
            self._peers[peer.device] = peer
        else:
            self._peers.pop(peer.device, None)
        self._draw()

    def changed(self, notice: str) -> None:
        """A device of mine or my profile is another than before."""
        self._loading.ask()
        if notice:
            self._become(notice=one_line(notice, 200))

    def close(self) -> None:
        self._loading.close()

    def noticed(self) -> None:
        self._become(notice="")

    async def rename(self, name: str) -> None:
        """My name, as contacts see it."""
        with self._working():
            if not name.strip():
                raise KithkinError("empty_text", "A name is needed here.")
            await self._service.profile_set(name=name)
        if not self.state.problem:
            await self.load()
