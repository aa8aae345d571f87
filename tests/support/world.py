"""The deterministic simulator: a priority queue of datagrams and wake-ups over the production cores.

    world = World(7)
    phone, desk = world.linked("Ada", devices=2)
    world.cut(phone, desk)
    phone.send("notes", "on the train")
    world.heal()
    assert world.settle().of(desk) == [Message("on the train", "delivered")]

One seed is one run: time is virtual, every device and every wire draws from a stream of its own.  `trace.digest` is the
same twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from crdt.space.control import SpaceKind
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from netstack.udp.port import Address
from sync.account.account import new_account, recovered_account
from sync.engine.effects import CodeShown, ContactMet, DeviceLinked, OnboardingFailed
from sync.engine.profile import Profile, found_profile
from sync.engine.succession import become_new_device
from sync.engine.tasks.epochs import turn_to_open
from sync.engine.twins import twins_of
from sync.service import delivery, messages
from sync.space import timeline
from sync.space.space import Space
from sync.store.memory import MemoryStore
from tests.support import promises
from tests.support.device import Device
from tests.support.rendezvous import Rendezvous
from tests.support.trace import Trace
from tests.support.wires import CLEAR, Weather, Wires

QUIET = 1.5  # seconds without a commit, after which nothing follows from anything any more
PATIENCE = 400.0  # virtual seconds until what does not settle is stuck


class Stuck(AssertionError):
    """The world did not come to rest."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a person sees of one message."""

    text: str
    state: str = "received"


class World:
    """`seed` names the run; `weather` is what the wires do once the setting is up; dht: there is a DHT, of which nobody
    knows more than keys and topics; hints: devices tell one another their addresses; mirrors: every device has a window
    that inserts what it is told (`tests.support.mirror`)."""

    def __init__(
        self,
        seed: int | str,
        weather: Weather = CLEAR,
        *,
        dht: bool = False,
        hints: bool = True,
        mirrors: bool = False,
    ) -> None:
        self.seed = seed
        self.now = 0.0  # seconds of a steady clock: as Unix time a float could not hold microseconds
        self.devices: list[Device] = []
        self.identities: dict[str, bytes] = {}
        self.words: dict[str, str] = {}  # the phrase of each person
        self.wires = Wires(str(seed), weather)
        self.trace = Trace()
        self.hints = hints
        self.mirrors = mirrors
        self.restart_after: Callable[[Device], float | None] = lambda device: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._made = 0
        self._by_address: dict[Address, Device] = {}
        self._ever: list[Device] = []  # thrown away ones included
        self.dht = Rendezvous(self) if dht else None

    # -- setting ----------------------------------------------------------------------------------------------

    def person(self, name: str, device: str = "phone") -> Device:
        """A new person with one device, which is on."""
        made = self._device(name, device)
        words = new_phrase(made.rng)
        keys = phrase_keys(words, made.kem)
        account = new_account(keys.root.public, device, made.rng, made.now, kem=made.kem)
        own = account.keys
        born = int(made.now)
        certificate = root_certificate(keys.root, own.signing, own.agreement.public, created=born, generation=born)
        account = type(account)(keys.root.public, own, account.transports, device)
        found_profile(made.store, account, [certificate], keys.recovery.public, name, born * 1000, made.rng, made.kem)
        self.identities[name] = keys.root.public
        self.words[name] = words
        made.boot()
        return made

    def recover(self, name: str, device: str = "new phone", *, boot: bool = True, skew: float = 0.0) -> Device:
        """A device made from the words of a person, who has no other: the production recovery."""
        made = self._device(name, device)
        made.skew = skew
        keys = phrase_keys(self.words[name], made.kem)
        account, certificate = recovered_account(keys, device, made.rng, made.now, made.kem)
        recovery, now_ms = keys.recovery, int(made.now * 1000)
        found_profile(
            made.store, account, [certificate], recovery.public, name, now_ms, made.rng, made.kem, recovering=recovery
        )
        if boot:
            made.boot()
        return made

    def linked(self, name: str, devices: int = 2) -> tuple[Device, ...]:
        """A person with several devices, all of them on and up to date with one another."""
        found = [self.person(name)]
        found += [self.link(found[0], kind) for kind in ("desktop", "tablet", "laptop", "watch", "car")[: devices - 1]]
        return tuple(found)

    def link(
        self,
        approver: Device,
        kind: str,
        *,
        history: bool = True,
        settle: bool = True,
        patience: float = PATIENCE,
        away_from: Iterable[Device] = (),
    ) -> Device:
        """A new device, let in by one that is there: the production pairing, digits included."""
        made = self._device(approver.owner, kind)
        self.wires.cut([made.address], [device.address for device in away_from])
        text = made.boot_linking(kind, kind)
        approver.steps.clear()
        approver.do(
            lambda engine: engine.onboarding.approvals.begin(
                engine.onboarding.approvals.check(text, approver.now), history, approver.now
            )
        )
        self.run_until(lambda: self._paired(approver, made), "pairing", patience)
        self.run(0.5)
        made.restart()
        if settle:
            self.settle()
        return made

    def _paired(self, approver: Device, made: Device) -> bool:
        for step in approver.steps:
            if isinstance(step, CodeShown):
                made.digits = step.code
        made.type_digits()
        return any(isinstance(step, DeviceLinked) for step in made.steps)

    def friends(self, one: Device, other: Device, *, settle: bool = True) -> None:
        """One invites, the other accepts: the production invite."""
        code = one.do(lambda engine: engine.onboarding.invites.create(one.now, 86_400, one.told))
        if settle:
            self.settle()
        other.steps.clear()
        other.do(lambda engine: engine.onboarding.invites.accept(code.payload.text, other.now))
        self.run_until(lambda: any(isinstance(step, ContactMet | OnboardingFailed) for step in other.steps), "invite")
        if settle:
            self.settle()

    def grouped(self, title: str, creator: Device, *others: Device) -> None:
        """A group of the creator; each of the others joins it."""
        creator.group(title, *others)
        self.settle()
        for other in others:
            other.join(title)
        self.settle()

    def restored(self, backup: MemoryStore, owner: str, kind: str, *, away_from: Iterable[Device] = ()) -> Device:
        """A new device on which a copy of a store was put back: it is off its wires to some, and on."""
        made = self._device(owner, kind)
        self.wires.cut([made.address], [device.address for device in away_from])
        made.store = backup.reopen(made.misfortune)
        become_new_device(Profile(made.store, made.rng, made.kem), int(made.now * 1000))
        made.boot()
        return made

    def _device(self, owner: str, kind: str) -> Device:
        self._made += 1
        made = Device(self, owner, f"{owner}-{kind}", (f"10.0.0.{self._made}", 4000))
        self.devices.append(made)
        self._ever.append(made)
        self._by_address[made.address] = made
        return made

    def move(self, device: Device) -> None:
        """From now on the device is somewhere else, and nobody at its old address."""
        self._made += 1
        del self._by_address[device.address]
        device.address = (f"10.0.0.{self._made}", 4000)
        self._by_address[device.address] = device

    def sleep(self, days: float) -> None:
        """So many days in which nobody is on and nothing happens."""
        assert not any(device.up for device in self.devices), "somebody is awake"
        self._queue.clear()
        self.now += days * 86_400

    def forget(self, name: str) -> None:
        """A device that came to nothing is thrown away."""
        for device in [device for device in self.devices if device.name == name]:
            device.throw_away()
            self.devices.remove(device)
            del self._by_address[device.address]

    # -- the network ------------------------------------------------------------------------------------------

    def cut(self, *sides: Device | Iterable[Device]) -> None:
        """Nothing passes between the sides any more; each is a device or several."""
        parts = [[side] if isinstance(side, Device) else list(side) for side in sides]
        for index, part in enumerate(parts):
            for other in parts[index + 1 :]:
                self.wires.cut([d.address for d in part], [d.address for d in other])
        self.note("cut", ",".join("+".join(map(str, part)) for part in parts))

    def heal(self) -> World:
        """Every wire is whole again, and everybody is on."""
        self.wires.heal()
        self.note("heal", "")
        for device in self.devices:
            if not device.up:
                device.boot()
        return self

    @contextmanager
    def weather(self, weather: Weather) -> Iterator[None]:
        before, self.wires.weather = self.wires.weather, weather
        yield
        self.wires.weather = before

    def transmit(self, sender: Device, target: Address, data: bytes) -> None:
        arrivals = self.wires.arrivals(sender.address, target)
        self.note("datagram" if arrivals else "lost", sender.name, target[0], data)
        receiver = self._by_address.get(target)
        if receiver is None:
            return
        source = sender.address
        for delay in arrivals:
            self._at(self.now + delay, lambda: receiver.receive(data, source))

    # -- time -------------------------------------------------------------------------------------------------

    def note(self, kind: str, who: str, what: str = "", data: bytes = b"") -> None:
        self.trace.note(self.now, kind, who, what, data)

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Does it so many seconds from now."""
        self._at(self.now + seconds, act)

    def _at(self, at: float, act: Callable[[], None]) -> None:
        heappush(self._queue, (at, next(self._order), act))

    def wake_at(self, device: Device, at: float) -> None:
        """The device wants to be woken then; of several times the earliest holds."""
        at = max(at, self.now)
        if at >= device.timer:
            return
        device.timer = at

        def wake() -> None:
            if device.timer == at:
                device.timer = float("inf")
                device.wake()

        self._at(at, wake)

    def crashed(self, device: Device) -> None:
        """Its store crashed: it comes back after a while, or when somebody heals the world."""
        after = self.restart_after(device)
        if after is not None:
            self._at(self.now + after, device.boot_again)

    def run(self, seconds: float) -> None:
        """Lets so much virtual time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self._step()
        self.now = end

    def run_until(self, done: Callable[[], bool], what: str, limit: float = PATIENCE) -> None:
        end = self.now + limit
        while not done():
            if not self._queue or self.now > end:
                raise Stuck(f"{what} did not come to an end\n{self.trace.tail()}")
            self._step()

    def _step(self) -> None:
        at, _, act = heappop(self._queue)
        self.now = max(self.now, at)
        act()

    def settle(self, limit: float = PATIENCE) -> World:
        """Until all that can be connected is connected, and nothing is committed for a while."""
        end, quiet_since, seen = self.now + limit, self.now, -1
        while True:
            self.run(0.25)
            commits = sum(device.commits for device in self.devices)
            if commits != seen or not self._connected() or self._under_way():
                seen, quiet_since = commits, self.now
            if self.now - quiet_since >= QUIET:
                self._sound()
                return self
            if self.now > end:
                raise Stuck(f"no rest after {limit:.0f} s: {self._unconnected()}\n{self.trace.tail()}")

    def _sound(self) -> None:
        """No engine met anything that its code did not foresee."""
        broken = {d.name: d.engine.faults for d in self.devices if d.engine_or_none is not None and d.engine.faults}
        if broken:
            raise AssertionError(f"defects: {broken}\n{self.trace.tail()}")
        self.keeps_promises()

    def keeps_promises(self) -> None:
        """Nothing that was written after its author learnt that a device is out opens at that device."""
        if not any(promises.LEDGER.get(device.store) for device in self._ever):
            return
        profiles: dict[bytes, Profile] = {}
        authors = []
        for device in self._ever:
            with device.misfortune.looking():
                try:
                    profile = device.engine.profile if device.engine_or_none is not None else device.stored()
                except LookupError:
                    continue  # its linking came to nothing
                profiles[profile.account.device] = profile
                authors.append((device.name, device.store, profile))
        found = promises.broken(authors, profiles)
        if found:
            raise AssertionError("promises are broken: " + "; ".join(found[:10]))

    def _connected(self) -> bool:
        return not self._unconnected()

    def _under_way(self) -> bool:
        """Whether anything that was sent can still arrive (after a storm a stream waits long before it repeats), or a
        device waits for its turn to open an epoch for all."""
        on = [device.engine.profile for device in self.devices if device.engine_or_none is not None]
        if any(turn_to_open(space) is not None for profile in on for space in profile.spaces.values()):
            return True
        return any(
            device.waits_for(other.address)
            for device in self.devices
            for other in self.devices
            if other.up and self.wires.open(device.address, other.address)
        )

    def _unconnected(self) -> list[str]:
        """Pairs that know of each other, can reach each other, and are not connected."""
        on = [device for device in self.devices if device.engine_or_none is not None]
        ids = {device.engine.profile.account.device: device for device in on}
        wants: dict[str, set[str]] = {}
        for device in on:
            profile = device.engine.profile
            there = [] if profile.out else device.engine.dialling.whereabouts()
            known = {ids[i].name for i in there if i in ids and not profile.directory.is_out(i)}
            met = {ids[p.device].name for p in device.engine.peers.values() if p.device in ids and not p.closing}
            wants[device.name] = known - met
        return [
            f"{one.name}-{other.name}"
            for one in on
            for other in on
            if other.name in wants[one.name]
            and one.name in wants[other.name] | {d.name for d in on if d is one}
            and self.wires.open(one.address, other.address)
        ]

    # -- what people see --------------------------------------------------------------------------------------

    def of(self, device: Device, chat: str | Device | None = None) -> list[Message]:
        """Messages as this device shows them: of one chat, or of all its chats together in order of time."""
        profile, now_ms = device.engine.profile, int(device.now * 1000)
        spaces = shown_as(profile, device.space(chat)) if chat is not None else chats_of(device)
        found, seen = [], set()
        for space in spaces:
            status = delivery.status_of(space)
            for row in timeline.page(profile.store, space.id, 100_000):
                if messages.shown(profile, space, row) and not row.deleted and row.id not in seen:
                    seen.add(row.id)  # a copy in another direct space of the same two people is the same message
                    state = messages.model(profile, space, row, status, now_ms).state
                    found.append((row.key(), Message(row.text, state)))
        return [message for _, message in sorted(found, key=lambda pair: pair[0])]

    def texts(self, device: Device, chat: str | Device | None = None) -> list[str]:
        return [message.text for message in self.of(device, chat)]

    def outbox(self, device: Device) -> list[str]:
        """Texts that some device has not opened yet."""
        now_ms = int(device.now * 1000)
        return [
            row.text
            for space in chats_of(device)
            for row, _ in delivery.pending(space, delivery.status_of(space), now_ms)
        ]


def shown_as(profile: Profile, space: Space) -> list[Space]:
    """A group with those that it goes on from; any other space."""
    return twins_of(profile, space) if space.kind is SpaceKind.GROUP else [space]


def chats_of(device: Device) -> list[Space]:
    spaces = device.engine.profile.spaces
    return [spaces[id_] for id_ in sorted(spaces) if not spaces[id_].personal]
