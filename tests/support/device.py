"""One simulated device: the production engine, driver and endpoint of one profile, its store, its power switch.

It is a port of `sync.engine.perform.Driver`, as `sync.service.node` is in a real process, with a virtual clock and with
datagrams for the world's wires.  A store that crashes takes the process with it: what is left is what the store kept.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from crdt.docs.rows import Row
from identity.errors import DecodeError, KithkinError
from identity.kem import Kem
from netstack.endpoint import EndpointCore, datagrams
from netstack.events import EVENTS, Closed, Ended, Event, Failed, Frame, Opened
from netstack.udp.port import Address
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.inputs import ConnectionUp, FoundKey
from sync.engine.onboarding.link import Linking
from sync.engine.perform import Driver
from sync.engine.profile import Profile
from sync.engine.twins import current
from sync.service.domain import OpenedProfile
from sync.service.ids import chat_id, find_chat, identity_id
from sync.space import timeline
from sync.space.feed import Feed
from sync.space.space import Space
from sync.store.memory import Call as StoreCall
from sync.store.memory import Crashed, MemoryStore, When
from tests.support import promises
from tests.support.calls import Calls, opened, result_of
from tests.support.kem import SIMULATED
from tests.support.mirror import Mirror

if TYPE_CHECKING:
    from tests.support.world import World

T = TypeVar("T")
NOTES = "notes"
BORN = 1_760_000_400.0  # Unix seconds at which worlds begin: a Thursday, so no UTC week ends within a run
FULL_FOR = 3
DISK_FULL = KithkinError("disk_full", "The disk is full.")


class Died(Exception):
    """The device crashed while it was asked something: nobody was told whether it was done."""


class Misfortune:
    """Watches a store: crashes it at a call drawn beforehand, or refuses a write as a full disk does."""

    def __init__(self) -> None:
        self.writes = 0
        self.calls = 0  # of whatever kind
        self.inside = 0  # whether the device itself is at work: a test that looks into a store brings no misfortune
        self.crash_in: int | None = None
        self.when = When.BEFORE
        self.refuse_writes = 0
        self.full_in: int | None = None  # writes until the disk is full, for the next `FULL_FOR` writes

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Whoever reads the store within is no part of the device, and brings no misfortune."""
        inside, self.inside = self.inside, 0
        try:
            yield
        finally:
            self.inside = inside

    def __call__(self, call: StoreCall) -> None:
        if call.name == "write" and call.when is When.AFTER:
            self.writes += 1
        self.calls += call.when is When.BEFORE
        if not self.inside:
            return
        if self.full_in is not None and call.name == "write" and call.when is When.BEFORE:
            self.full_in -= 1
            if self.full_in < 0:
                self.full_in, self.refuse_writes = None, FULL_FOR
        if self.refuse_writes and call.name == "write" and call.when is When.BEFORE:
            self.refuse_writes -= 1
            raise DISK_FULL
        if self.crash_in is not None and call.when is self.when:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crashed(f"{call.when.value} {call.name}")


class Device:
    """`owner` and `name` for people; `skew`: how many seconds its clock is ahead of the world's."""

    def __init__(self, world: World, owner: str, name: str, address: Address) -> None:
        self.world = world
        self.owner = owner
        self.name = name
        self.address = address
        self.skew = 0.0
        self.kem: Kem | None = SIMULATED  # None: its platform has no ML-KEM
        luck = Random(f"{world.seed}/{name}")
        self.rng: Callable[[int], bytes] = luck.randbytes
        self.fate = Random(f"{world.seed}/{name}/fate")
        self.misfortune = Misfortune()
        self.store = MemoryStore(self.misfortune)
        self.core: EndpointCore | None = None
        self.engine_or_none: Engine | None = None
        self.linking: Linking | None = None
        self._driver: Driver[Engine] | Driver[Linking] | None = None
        self.digits = ""  # what a linking device will be told
        self.steps: list[e.OnboardingStep] = []
        self.events: list[e.Effect] = []
        self.mirror: Mirror | None = None  # a window on the engine that runs
        self._watched = world.mirrors
        self.boots = 0
        self.sent = 0  # bytes of frames, ever
        self.timer = float("inf")
        self.errors: list[BaseException] = []
        self._dials: dict[int, int] = {}  # connection -> attempt
        self._failed: list[int] = []
        self._by_key: dict[int, e.Dial] = {}  # connection -> its dial, which goes on by key where no address answers
        self._serving = False

    def __repr__(self) -> str:
        return self.name

    # -- power ------------------------------------------------------------------------------------------------

    @property
    def commits(self) -> int:
        return self.misfortune.writes

    @property
    def up(self) -> bool:
        return self.core is not None

    @property
    def engine(self) -> Engine:
        if self.engine_or_none is None:
            raise Died(f"{self.name} is off")
        return self.engine_or_none

    @property
    def now(self) -> float:
        """Unix seconds by this device's own clock."""
        return BORN + self.world.now + self.skew

    @property
    def hints(self) -> tuple[str, ...]:
        return tuple(f"{host}:{port}" for host, port in self.told)

    @property
    def told(self) -> list[Address]:
        """Addresses that this device tells others: its own, or none where people are to be found by key alone."""
        return [self.address] if self.world.hints else []

    def move(self) -> None:
        """Another house: the same device at another address.  It must be off."""
        self.world.move(self)

    def boot(self) -> bool:
        """Starts the process on what the store holds, as production does: starting is recovering."""

        def start() -> bool:
            self._fresh_port()
            engine = self.engine_or_none = Engine(self.store, self.rng, self.now, self.kem)
            driver = self._driver = Driver(engine, self, lambda: self.now)
            engine.online(self.hints, self.now)
            driver.tick()
            if self._watched:
                self.watch()
            return True

        try:
            started = self._alive(start) or False
        except KithkinError as refusal:
            # A process that cannot begin ends with that; whoever runs it tries again.
            self.errors.append(refusal)
            self._has(self.store.reopen(self.misfortune))
            self._gone("refused")
            self.world.crashed(self)
            return False
        self._serve()
        return started

    def boot_linking(self, kind: str, name: str) -> str:
        """Shows a pairing text, which is returned."""
        self._fresh_port()
        self.linking = Linking(self.store, kind, name, self.told, self.rng, self.now, self.kem)
        self._driver = Driver(self.linking, self, lambda: self.now)
        self._driver.tick()
        self._serve()
        return self.linking.text

    def watch(self) -> Mirror:
        """Opens a window that inserts what it is told; every later start of the device opens one, too."""
        self._watched = True
        self.mirror = Mirror(self, self.engine)
        return self.mirror

    def _fresh_port(self) -> None:
        self.boots += 1
        self.core = EndpointCore(self.rng)
        self._dials, self._failed, self._by_key = {}, [], {}
        self.timer = float("inf")
        self.world.note("boot", self.name, str(self.boots))

    def boot_again(self) -> None:
        """Starts it, unless somebody has."""
        if not self.up:
            self.boot()

    def restart(self) -> None:
        self.stop()
        self.boot()

    def type_digits(self) -> None:
        """Types the digits, once they are known and asked for."""
        asked = any(isinstance(step, e.CodeWanted) for step in self.steps)
        if self.linking is not None and self.digits and asked:
            digits, self.digits = self.digits, ""
            self.linking.submit(digits, self.now)
            self._tick()
            self._serve()

    def stop(self) -> None:
        """A clean end: peers are told, the store is closed and kept whole."""
        core = self.core
        if core is None:
            return
        for conn in sorted({*(self._driver.open if self._driver is not None else ()), *self._dials}):
            core.abort(conn, self.world.now)
        core.take_effects()
        self._send(core)
        self._has(self.store.reopen(self.misfortune))
        self._gone("stop")

    def crash(self) -> None:
        """A power cut: what was not durable may be lost, and nobody is told."""
        self._has(self.store.crash(lambda size: self.fate.randbytes(size), self.misfortune))
        self._gone("crash")

    def _has(self, store: MemoryStore) -> None:
        """From now on this store; what its device sealed stays noted."""
        promises.LEDGER[store] = promises.LEDGER.pop(self.store, [])
        self.store = store

    def _gone(self, kind: str) -> None:
        self.core = self.engine_or_none = self.linking = self._driver = self.mirror = None
        if self.world.dht is not None:
            self.world.dht.gone(self)
        self.timer = float("inf")
        self.misfortune.crash_in = None
        self.world.note(kind, self.name)

    def stored(self) -> Profile:
        """What is in the store of a device that is off.  Raises LookupError where it never got an account."""
        return Profile(self.store, self.rng, None)

    def throw_away(self) -> None:
        self._gone("gone")

    def _alive(self, act: Callable[[], T]) -> T | None:
        """Runs it in this device's process; the store's crash ends the process."""
        self.misfortune.inside += 1
        try:
            return act()
        except Crashed:
            self.crash()
            self.world.crashed(self)
            return None
        finally:
            self.misfortune.inside -= 1

    # -- what a person does -----------------------------------------------------------------------------------

    def do(self, change: Callable[[Engine], T]) -> T:
        """One change and the turn that makes it durable.  Raises Died."""
        opened = self._profile_opened()
        return self._asked(lambda: opened.commit(lambda: change(opened.engine)))

    def call(self, call: Callable[[Calls], Coroutine[Any, Any, T]]) -> T:
        """One call of the service.  Raises Died."""
        calls = Calls(self._profile_opened())
        return self._asked(lambda: result_of(call(calls)))

    def _profile_opened(self) -> OpenedProfile:
        return opened(self.engine, lambda: self.now, self._tick)

    def _asked(self, act: Callable[[], T]) -> T:
        done: list[T] = []
        self._alive(lambda: done.append(act()))
        if not done:
            raise Died(f"{self.name} crashed")
        self._serve()
        return done[0]

    def feed(self, chat: str | Device) -> Feed:
        """The feed that this device writes in a chat."""
        mine = self.space(chat).mine
        assert mine is not None
        return mine

    def space(self, chat: str | Device) -> Space:
        """My notes, the chat with a person (any device of theirs), or the group of that title."""
        profile = self.engine.profile
        if isinstance(chat, Device):
            identity = chat.engine.profile.account.identity if chat.up else self.world.identities[chat.owner]
            direct = self.engine.onboarding.invites.direct(identity)
            if direct is None:
                raise KithkinError("not_found", f"{self.name} has no chat with {chat.owner}")
            return direct
        if chat in self.world.identities:
            direct = self.engine.onboarding.invites.direct(self.world.identities[chat])
            if direct is None:
                raise KithkinError("not_found", f"{self.name} has no chat with {chat}")
            return direct
        for space in profile.spaces.values():
            known = profile.view.chats.get(space.id)
            if known is None:
                continue
            if (chat == NOTES and known.kind == "self") or (
                known.kind == "group"
                and (known.old is None or known.state != "invited")
                and chat in (known.title, space.state.title)
            ):
                return current(profile, space)
        raise KithkinError("not_found", f"{self.name} has no chat {chat}")

    def send(self, chat: str | Device, text: str) -> str:
        """Returns the shown message id: from then on it must not be lost."""
        space = self.space(chat)
        self.world.note("say", self.name, text)
        sent = self.call(lambda calls: calls.send(chat_id(space.id), text))
        self.world.run(0.002)  # nobody writes two messages in one millisecond
        return sent.id

    def try_to_send(self, chat: str | Device, text: str) -> bool:
        """Whether the sender was told that it is sent."""
        try:
            self.send(chat, text)
        except (Died, KithkinError):
            return False
        return True

    def invite(self) -> str:
        """An invite for one person, as text."""
        code = self.do(lambda engine: engine.onboarding.invites.create(self.now, 86_400, self.told))
        return code.payload.text

    def accept(self, text: str) -> None:
        self.do(lambda engine: engine.onboarding.invites.accept(text, self.now))

    def knows(self, person: str) -> bool:
        """Whether there is a chat with them that this device may write in."""
        space = self.engine.onboarding.invites.direct(self.world.identities[person])
        return space is not None and space.mine is not None and space.state.open(space.mine.core)

    def rows(self, chat: str | Device) -> list[Row]:
        """A chat's timeline, deleted messages included."""
        return timeline.page(self.store, self.space(chat).id, 100_000)

    def edit(self, chat: str | Device, message: str, text: str) -> None:
        self.change(self.space(chat), "edit", message, text)

    def react(self, chat: str | Device, message: str, emoji: str) -> None:
        space = self.space(chat)
        self.call(lambda calls: calls.react(chat_id(space.id), message, emoji))

    def delete(self, chat: str | Device, message: str, *, everyone: bool = True) -> None:
        space = self.space(chat)
        self.call(lambda calls: calls.delete(chat_id(space.id), message, everyone=everyone))

    def read(self, chat: str | Device) -> None:
        """Marks everything there as read, and tells the others."""
        space = self.space(chat)
        self.call(lambda calls: calls.mark(chat_id(space.id)))

    def change(self, space: Space, what: str, message: str, text: str) -> None:
        """Edits, deletes or marks a message of the space."""
        chat = chat_id(space.id)
        if what == "edit":
            self.call(lambda calls: calls.edit(chat, message, text))
        elif what == "delete":
            self.call(lambda calls: calls.delete(chat, message, everyone=True))
        else:
            self.call(lambda calls: calls.react(chat, message, "\N{THUMBS UP SIGN}"))

    def group(self, title: str, *contacts: Device) -> bytes:
        """A new group; each contact gets an offer.  Its space id."""
        names = [identity_id(self.world.identities[one.owner]) for one in contacts]
        made = self.call(lambda calls: calls.chat_new(title, names))
        return find_chat(self.engine.profile, made.chat)

    def join(self, title: str) -> bytes:
        """Says yes to the offer of a group of that title.  Its space id."""
        view = self.engine.profile.view
        found = next(id_ for id_, chat in sorted(view.chats.items()) if chat.title == title and chat.kind == "group")
        self.call(lambda calls: calls.chat_join(chat_id(found)))
        return found

    def leave(self, title: str) -> bytes:
        """Leaves the group of that title.  Its space id."""
        left = self.space(title).id
        self.call(lambda calls: calls.chat_leave(chat_id(left)))
        return left

    def waits_for(self, address: Address) -> bool:
        """Whether something sent there is not acknowledged yet."""
        core, there = self.core, f"{address[0]}:{address[1]}"
        if core is None or self.engine_or_none is None:
            return False
        return any(peer.address == there and core.queued(peer.conn) for peer in self.engine_or_none.peers.values())

    # -- turns ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address) -> None:
        core = self.core
        if core is not None:
            core.receive(data, source, self.world.now)
            self._serve()

    def wake(self) -> None:
        core = self.core
        if core is None:
            return
        core.wake(self.world.now)
        if self.engine_or_none is not None and self._driver is not None:
            self._alive(self._driver.wake)
        self._serve()

    def _tick(self) -> None:
        """Raises what the store refuses with."""
        if self._driver is not None:
            self._driver.tick()

    # -- what the core asks for (`sync.engine.perform.Port`) ----------------------------------------------------

    def transmit(self, conn: int, frame: bytes) -> None:
        if self.core is not None:
            self.sent += len(frame)
            self.core.send(conn, frame, self.world.now)

    def disconnect(self, conn: int, reason: str) -> None:
        if self.core is not None:
            self.world.note("disconnect", self.name, reason)
            self.core.close(conn, self.world.now)

    def dial(self, dial: e.Dial) -> None:
        self.world.note("dial", self.name, ",".join(dial.addresses))
        if dial.addresses:
            places = [(host, int(port)) for host, _, port in (text.rpartition(":") for text in dial.addresses)]
            self._connect(dial, places, by_key=dial.announced or bool(dial.relays))
        else:
            self._find(dial)

    def listen(self, listen: e.Listen) -> None:
        if self.core is not None:
            self.core.listen(listen.key)
        if self.world.dht is not None:
            self.world.dht.listen(self, listen.key, listen.announce)

    def unlisten(self, public: bytes) -> None:
        if self.core is not None:
            self.core.unlisten(public)
        if self.world.dht is not None:
            self.world.dht.unlisten(public)

    def join_topic(self, join: e.JoinTopic) -> None:
        if self.world.dht is not None:
            self.world.dht.join(self, join.topic, join.key, join.announce)

    def leave_topic(self, topic: bytes) -> None:
        if self.world.dht is not None:
            self.world.dht.leave(self, topic)

    def put_record(self, put: e.PutRecord) -> None:
        if self.world.dht is not None:
            self.world.dht.put_record(put.key.public, put.seq, put.value)

    def seek_record(self, public: bytes) -> None:
        core, dht = self.core, self.world.dht

        def found(value: bytes) -> None:
            driver = self._driver
            if self.core is core and driver is not None:
                self._alive(lambda: driver.sought(public, value))
                self._serve()

        if dht is not None:
            dht.seek_record(public, found)

    def advance(self, step: e.OnboardingStep) -> None:
        self.steps.append(step)

    def tell(self, event: e.Event) -> None:
        self.events.append(event)
        if self.mirror is not None:
            self.mirror.tell(event)

    def refused(self, error: KithkinError) -> None:
        self.errors.append(error)

    def ticked(self) -> None:
        """Datagrams leave and the timer is set once nothing follows from anything: `_serve`."""
        if self.mirror is not None:
            self.mirror.ticked()

    # -- the network --------------------------------------------------------------------------------------------

    def _connect(self, dial: e.Dial, places: list[Address], *, by_key: bool) -> None:
        core = self.core
        if core is None:
            return
        try:
            conn = core.connect(dial.remote, places, dial.local, self.world.now)
        except (DecodeError, ValueError):
            self._failed.append(dial.attempt)
            return
        self._dials[conn] = dial.attempt
        if by_key:
            self._by_key[conn] = dial

    def _find(self, dial: e.Dial) -> None:
        """By key alone: where it is announced, and then there."""
        core, dht = self.core, self.world.dht
        if dht is None or not (dial.announced or dial.relays):
            self._failed.append(dial.attempt)
            return

        def found(address: Address | None) -> None:
            if self.core is not core:
                return  # another process by now
            if address is None:
                self._failed.append(dial.attempt)
            else:
                self._connect(dial, [address], by_key=False)
            self._serve()

        dht.find(self, dial.remote, found)

    def found(self, topic: bytes, keys: list[bytes], relays: tuple[Address, ...]) -> None:
        """A look-up at a topic brought these keys."""
        driver = self._driver
        if driver is not None and self.engine_or_none is not None:
            self._alive(lambda: driver.found(FoundKey(topic, key, relays) for key in keys))
            self._serve()

    def _serve(self) -> None:
        """Until nothing follows from anything: events in, effects out, datagrams on the wires."""
        if self._serving:
            return
        self._serving = True
        try:
            while (core := self.core) is not None:
                happened = [effect for effect in core.take_effects() if isinstance(effect, EVENTS)]
                failed, self._failed = self._failed, []
                if failed or happened:
                    self._alive(partial(self._happened, failed, happened))
                if self.core is not core:
                    continue
                self._send(core)
                if not core.restless:
                    break
        finally:
            self._serving = False
        self._arm()

    def _send(self, core: EndpointCore) -> None:
        for target, data in datagrams(core.outgoing()):
            self.world.transmit(self, target, data)

    def _happened(self, failed: list[int], events: list[Event]) -> None:
        driver = self._driver
        if driver is None:
            return
        for vain in failed:
            driver.failed(vain)
        frames: list[tuple[int, bytes]] = []
        for event in events:
            if isinstance(event, Frame):
                if frames and frames[0][0] != event.conn:
                    driver.frames(frames[0][0], [data for _, data in frames])
                    frames = []
                frames.append((event.conn, event.data))
                continue
            if frames:
                driver.frames(frames[0][0], [data for _, data in frames])
                frames = []
            match event:
                case Opened():
                    self._opened(event)
                case Failed(conn=conn, reason=reason):
                    attempt, dial = self._dials.pop(conn, None), self._by_key.pop(conn, None)
                    if dial is not None and self.world.dht is not None:
                        self._find(dial)
                    elif attempt is not None:
                        self.world.note("failed", self.name, str(reason))
                        driver.failed(attempt)
                case Closed(conn=conn, reason=reason):
                    self.world.note("closed", self.name, str(reason))
                    driver.closed(conn)
                case Ended(conn=conn):
                    if self.core is not None:
                        self.core.end(conn, self.world.now)  # as `shell_connection` does: nobody listens there
                case _:
                    pass
        if frames:
            driver.frames(frames[0][0], [data for _, data in frames])

    def _opened(self, event: Opened) -> None:
        attempt = self._dials.pop(event.conn, None)
        self._by_key.pop(event.conn, None)
        host, port = event.address
        if self._driver is not None:
            attempt = attempt if event.initiator else None
            self._driver.opened(
                ConnectionUp(
                    event.conn, attempt, event.local_key, event.remote_key, event.handshake_hash, f"{host}:{port}"
                )
            )

    def _arm(self) -> None:
        core = self.core
        if core is None:
            return
        times = [at for at in (core.next_wake(),) if at < inf]
        if self.engine_or_none is not None:
            times.append(self.engine_or_none.next_wake() - BORN - self.skew)
        if times:
            self.world.wake_at(self, min(times))
