"""My profile, my devices, and whether anybody is connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, brief, clock, day, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One row.  `about`: whether it is online, or when it was last seen.  `kept`: it is chosen to
    stay."""

    id: str
    name: str
    about: str
    this: bool
    active: bool
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whether to shut a device out: what that does, in sentences."""

    id: str
    name: str
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DevicesState:
    """`network` says whether anybody is connected; `notice` is a sentence about a device of mine, to be shown once.
    `fresh`: the device that was linked just now, until somebody keeps it or shuts it out.  `question`: asked now.
    `choosing`: the words are to say which devices stay; each row has a switch."""

    name: str = ""
    initials: str = ""
    shade: int = 0
    identity: str = ""
    devices: tuple[ListedDevice, ...] = ()
    network: str = ""
    notice: str = ""
    fresh: str = ""
    question: Question | None = None
    choosing: bool = False
    busy: bool = False
    problem: str = ""


class Devices(ViewModel[DevicesState]):
    """`load` once, then tell it of peers and devices.  now: the moment, for times."""

    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(DevicesState())
        self._service = service
        self._now = now
        self._listed: dict[str, models.Device] = {}
        self._peers: dict[str, models.Peer] = {}
        self._kept: set[str] = set()  # chosen to stay
        self._loading = Coalesced(self.load)

    async def load(self) -> None:
        """Reads my profile, my devices and which devices are connected."""
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
        network = "Connected" if self._peers else "Offline, messages will be sent later"
        if any(device.this and device.state == "revoked" for device in self._listed.values()):
            network = "This device was shut out"
        self._become(devices=devices, network=network)

    def _device(self, device: models.Device) -> ListedDevice:
        if device.this:
            about = "This device"
        elif device.state == "revoked":  # also while it is still connected
            about = one_line(
                f"Shut out; not yet known to {', '.join(device.waiting)}" if device.waiting else "Shut out", 200
            )
        elif device.id in self._peers:
            about = "Online"
        elif device.last_seen is not None:
            now = self._now()
            today = day(device.last_seen, now) == "Today"
            about = "Last seen " + (f"at {clock(device.last_seen)}" if today else brief(device.last_seen, now))
        else:
            about = "Never connected"
        kept = self.state.choosing and (device.this or device.id in self._kept)
        if self.state.choosing and not device.this:
            about = device.id  # to be compared with what the device itself shows
        name, active = one_line(device.name, MAX_TITLE), device.state == "active"
        return ListedDevice(device.id, name, about, device.this, active, kept)

    def peer(self, peer: models.Peer, connected: bool) -> None:
        """A device of anybody connected or disconnected."""
        if connected:
            self._peers[peer.device] = peer
        else:
            self._peers.pop(peer.device, None)
        self._draw()

    def changed(self, device: models.Device, notice: str) -> None:
        """A device of mine changed.  For this one the event also stands for my profile and the list as such, which it
        does not carry."""
        self._listed[device.id] = device
        self._draw()
        if device.this:
            self.reload()
        if notice:
            self._become(notice=one_line(notice, 200))
            if device.state == "active" and not device.this:
                self._become(fresh=device.id)
        if device.state != "active" and device.id == self.state.fresh:
            self._become(fresh="")

    def reload(self) -> None:
        """Reads everything again soon."""
        self._loading.ask()

    def close(self) -> None:
        """Ends what is under way."""
        self._loading.close()

    def told(self, notice: str) -> None:
        """Something about somebody's devices, to be shown once."""
        self._become(notice=one_line(notice, 200))

    def choose(self) -> None:
        """The words are to say which devices stay: those that are mine now, until `toggle` says otherwise."""
        self._kept = {device.id for device in self._listed.values() if device.state != "revoked"}
        self._become(choosing=True, question=None, problem="")
        self._draw()

    def toggle(self, device: str) -> None:
        """The switch of one device."""
        listed = self._listed.get(device)
        if listed is not None and not listed.this and self.state.choosing:
            self._kept ^= {device}
            self._draw()

    async def keep_chosen(self, words: str) -> None:
        """The 24 words: this device and the chosen ones stay, all others are out."""
        if not self.state.choosing or self.state.busy:
            return
        with self._working():
            chosen = sorted(self._kept & self._listed.keys() - {one.id for one in self._listed.values() if one.this})
            await self._service.device_keep(words, chosen)
            self._become(choosing=False)
        if not self.state.problem:
            await self.load()

    async def ask(self, device: str) -> None:
        """Asks whether to shut a device out; `shut_out` does it, `keep` does not."""
        if self.state.choosing:
            self.toggle(device)
            return
        listed = self._listed.get(device)
        if listed is not None and (listed.this or listed.state == "revoked"):
            return
        with self._working():
            loss = await self._service.device_revocation(device)
            self._become(question=Question(loss.device, one_line(loss.name, MAX_TITLE), tuple(loss.effects)))

    async def shut_out(self) -> None:
        """Yes to the question."""
        question = self.state.question
        if question is None or self.state.busy:
            return
        with self._working():
            await self._service.device_revoke(question.id)
            self._become(question=None, fresh="")
        if not self.state.problem:
            await self.load()

    def keep(self) -> None:
        """No to the question, to the undo of a fresh link, or to a choice by the words."""
        self._become(question=None, fresh="", choosing=False, problem="")
        self._draw()

    def noticed(self) -> None:
        """The notice was shown."""
        self._become(notice="")

    async def rename(self, name: str) -> None:
        """Gives me another name, as my contacts see it."""
        with self._working():
            if not name.strip():
                raise KithkinError("empty_text", "Enter a name.")
            await self._service.profile_set(name=name)
        if not self.state.problem:
            await self.load()
