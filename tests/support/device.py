"""One simulated device: the production engine and endpoint of one profile, its store, its power switch.

It does what `sync.service.node` and `netstack.host` do in a real process, with a virtual clock and datagrams for the
world's wires.  A store that crashes takes the process with it: what is left is what the store kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import TYPE_CHECKING, TypeVar

from crdt.docs.rows import Row
from identity.errors import DecodeError, KithkinError
from identity.pairing import NeedCode
from netstack.endpoint import EndpointCore, datagrams
from netstack.events import EVENTS, Closed, Ended, Event, Failed, Frame, Opened
from netstack.udp.port import Address
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.onboarding.link import Linking
from sync.service import chats, messages
from sync.service.ids import chat_id, identity_id, message_id
from sync.space import timeline
from sync.space.space import Space
from sync.store.memory import Call as StoreCall
from sync.store.memory import Crashed, MemoryStore, When

if TYPE_CHECKING:
    from tests.support.world import World

T = TypeVar("T")
NOTES = "notes"
BORN = 1_760_000_400.0  # Unix seconds at which worlds begin: a Thursday, so no UTC week ends within a run
DISK_FULL = KithkinError("disk_full", "The disk is full.")


class Died(Exception):
    """The device crashed while it was asked something: nobody was told whether it was done."""


class Misfortune:
    """Watches a store: crashes it at a call drawn beforehand, or refuses a write as a full disk does."""

    def __init__(self) -> None:
        self.writes = 0
        self.inside = 0  # whether the device itself is at work: a test that looks into a store brings no misfortune
        self.crash_in: int | None = None
        self.when = When.BEFORE
        self.refuse_writes = 0

    def __call__(self, call: StoreCall) -> None:
        if call.name == "write" and call.when is When.AFTER:
            self.writes += 1
        if not self.inside:
            return
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
        luck = Random(f"{world.seed}/{name}")
        self.rng: Callable[[int], bytes] = luck.randbytes
        self.fate = Random(f"{world.seed}/{name}/fate")
        self.misfortune = Misfortune()
        self.store = MemoryStore(self.misfortune)
        self.core: EndpointCore | None = None
        self.engine_or_none: Engine | None = None
        self.linking: Linking | None = None
        self.digits = ""  # what a linking device will be told
        self.steps: list[e.FlowStep] = []
        self.events: list[e.Effect] = []
        self.boots = 0
        self.timer = float("inf")
        self.errors: list[BaseException] = []
        self._dials: dict[int, int] = {}  # connection -> attempt
        self._connections: set[int] = set()
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
            self.engine_or_none = Engine(self.store, self.rng, self.now)
            self.engine_or_none.online(self.hints, self.now)
            self._turn()
            return True

        try:
            started = self._alive(start) or False
        except KithkinError as refusal:
            # A process that cannot begin ends with that; whoever runs it tries again.
            self.errors.append(refusal)
            self.store = self.store.reopen(self.misfortune)
            self._gone("refused")
            self.world.crashed(self)
            return False
        self._serve()
        return started

    def boot_linking(self, kind: str, name: str) -> str:
        """Shows a pairing text, which is returned."""
        self._fresh_port()
        self.linking = Linking(self.store, kind, name, self.told, self.rng, self.now)
        self._serve()
        return self.linking.text

    def _fresh_port(self) -> None:
        self.boots += 1
        self.core = EndpointCore(self.rng)
        self._dials, self._connections, self._failed, self._by_key = {}, set(), [], {}
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
        asked = any(isinstance(step.step, NeedCode) for step in self.steps)
        if self.linking is not None and self.digits and asked:
            digits, self.digits = self.digits, ""
            self.linking.submit(digits, self.now)
            self._serve()

    def stop(self) -> None:
        """A clean end: peers are told, the store is closed and kept whole."""
        core = self.core
        if core is None:
            return
        for conn in sorted({*self._connections, *self._dials}):
            core.abort(conn, self.world.now)
        core.take_effects()
        self._send(core)
        self.store = self.store.reopen(self.misfortune)
        self._gone("stop")

    def crash(self) -> None:
        """A power cut: what was not durable may be lost, and nobody is told."""
        self.store = self.store.crash(lambda size: self.fate.randbytes(size), self.misfortune)
        self._gone("crash")

    def _gone(self, kind: str) -> None:
        self.core = self.engine_or_none = self.linking = None
        if self.world.dht is not None:
            self.world.dht.gone(self)
        self.timer = float("inf")
        self.misfortune.crash_in = None
        self.world.note(kind, self.name)

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
        """One change and the turn that makes it durable, as `sync.service.local` does.  Raises Died."""
        engine = self.engine
        done: list[T] = []

        def act() -> None:
            try:
                result = change(engine)
            except BaseException:
                if len(engine.profile.context.batch) or engine.profile.dirty:
                    engine.start_over()
                    self._turn()
                raise
            self._turn()
            done.append(result)

        self._alive(act)
        if not done:
            raise Died(f"{self.name} crashed")
        self._serve()
        return done[0]

    def space(self, chat: str | Device) -> Space:
        """My notes, the chat with a person (any device of theirs), or the group of that title."""
        profile = self.engine.profile
        if isinstance(chat, Device):
            identity = chat.engine.profile.account.identity if chat.up else self.world.identities[chat.owner]
            direct = self.engine.onboarding.direct(identity)
            if direct is None:
                raise KithkinError("not_found", f"{self.name} has no chat with {chat.owner}")
            return direct
        if chat in self.world.identities:
            direct = self.engine.onboarding.direct(self.world.identities[chat])
            if direct is None:
                raise KithkinError("not_found", f"{self.name} has no chat with {chat}")
            return direct
        for space in profile.spaces.values():
            known = profile.view.chats.get(space.id)
            if known is None:
                continue
            if (chat == NOTES and known.kind == "self") or (
                known.kind == "group" and chat in (known.title, space.state.title)
            ):
                return space
        raise KithkinError("not_found", f"{self.name} has no chat {chat}")

    def send(self, chat: str | Device, text: str) -> str:
        """Returns the shown message id: from then on it must not be lost."""
        space = self.space(chat)
        self.world.note("say", self.name, text)
        made = self.do(lambda engine: messages.send(engine.profile, space, text, None, int(self.now * 1000)))
        self.world.run(0.002)  # nobody writes two messages in one millisecond
        return message_id(made)

    def try_to_send(self, chat: str | Device, text: str) -> bool:
        """Whether the sender was told that it is sent."""
        try:
            self.send(chat, text)
        except (Died, KithkinError):
            return False
        return True

    def invite(self) -> str:
        """An invite for one person, as text."""
        code = self.do(lambda engine: engine.onboarding.invite(self.now, 86_400, self.told))
        return code.payload.text

    def accept(self, text: str) -> None:
        self.do(lambda engine: engine.onboarding.accept(text, self.now))

    def knows(self, person: str) -> bool:
        """Whether there is a chat with them that this device may write in."""
        space = self.engine.onboarding.direct(self.world.identities[person])
        return space is not None and space.mine is not None and space.state.open(space.mine.core)

    def rows(self, chat: str | Device) -> list[Row]:
        """A chat's timeline, deleted messages included."""
        return timeline.page(self.store, self.space(chat).id, 100_000)

    def edit(self, chat: str | Device, message: str, text: str) -> None:
        space = self.space(chat)
        self.do(lambda engine: messages.edit(engine.profile, space, message, text, int(self.now * 1000)))

    def react(self, chat: str | Device, message: str, emoji: str) -> None:
        space = self.space(chat)
        self.do(lambda engine: messages.react(engine.profile, space, message, emoji, int(self.now * 1000)))

    def delete(self, chat: str | Device, message: str, *, everyone: bool = True) -> None:
        space = self.space(chat)
        self.do(lambda engine: messages.delete(engine.profile, space, message, everyone, int(self.now * 1000)))

    def read(self, chat: str | Device) -> None:
        """Marks everything there as read, and tells the others."""
        space = self.space(chat)
        self.do(lambda engine: messages.mark(engine.profile, space, None, int(self.now * 1000)))

    def change(self, space: Space, what: str, message: str, text: str) -> None:
        """Edits, deletes or marks a message of the space."""
        now_ms = int(self.now * 1000)

        def act(engine: Engine) -> None:
            if what == "edit":
                messages.edit(engine.profile, space, message, text, now_ms)
            elif what == "delete":
                messages.delete(engine.profile, space, message, True, now_ms)
            else:
                messages.react(engine.profile, space, message, "\N{THUMBS UP SIGN}", now_ms)

        self.do(act)

    def group(self, title: str, *contacts: Device) -> bytes:
        """A new group; each contact gets an offer."""
        names = [identity_id(self.world.identities[one.owner]) for one in contacts]
        return self.do(lambda engine: chats.new_group(engine.profile, title, names, int(self.now * 1000)))

    def join(self, title: str) -> bytes:
        """Says yes to the offer of a group of that title."""
        view = self.engine.profile.view
        found = next(id_ for id_, chat in sorted(view.chats.items()) if chat.title == title and chat.kind == "group")
        shown = chat_id(found)
        return self.do(lambda engine: chats.join(engine.profile, engine.onboarding, shown, int(self.now * 1000)))

    def leave(self, title: str) -> bytes:
        shown = chat_id(self.space(title).id)
        return self.do(lambda engine: chats.leave(engine.profile, shown, int(self.now * 1000)))

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
        engine = self.engine_or_none
        if engine is not None:

            def act() -> None:
                engine.wake(self.now)
                self._quiet_turn()

            self._alive(act)
        self._serve()

    def _turn(self) -> None:
        """As `Node.turn`: commits, performs what follows.  Raises what the store refuses with."""
        engine = self.engine_or_none
        if engine is None:
            return
        refused: KithkinError | None = None
        lost = True
        while lost:
            try:
                engine.settle(self.now)
            except KithkinError as error:
                refused = refused or error
            lost = self._perform(engine.take())
        if refused is not None:
            raise refused

    def _quiet_turn(self) -> None:
        try:
            self._turn()
        except KithkinError as error:
            self.errors.append(error)

    def _perform(self, effects: list[e.Effect]) -> bool:
        """Whether a connection was ended, of which the engine now knows."""
        core, world, lost = self.core, self.world, False
        if core is None:
            return False
        for effect in effects:
            match effect:
                case e.Transmit(conn, frame):
                    if conn in self._connections:
                        core.send(conn, frame, world.now)
                case e.Disconnect(conn, reason):
                    if conn in self._connections:
                        world.note("disconnect", self.name, reason)
                        core.close(conn, world.now)
                        self._lost(conn)
                        lost = True
                case e.Dial(addresses=addresses):
                    world.note("dial", self.name, ",".join(addresses))
                    if addresses:
                        places = [(host, int(port)) for host, _, port in (text.rpartition(":") for text in addresses)]
                        self._connect(effect, places, by_key=effect.announced or bool(effect.relays))
                    else:
                        self._find(effect)
                case e.Listen(key, announce):
                    core.listen(key)
                    if world.dht is not None:
                        world.dht.listen(self, key, announce)
                case e.Unlisten(public):
                    core.unlisten(public)
                    if world.dht is not None:
                        world.dht.unlisten(public)
                case e.Meet(topic, key, announce):
                    if world.dht is not None:
                        world.dht.meet(self, topic, key, announce)
                case e.Part(topic):
                    if world.dht is not None:
                        world.dht.part(self, topic)
                case e.FlowStep():
                    self.steps.append(effect)
                case _:
                    self.events.append(effect)
        return lost

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
        engine = self.engine_or_none
        if engine is None:
            return

        def act() -> None:
            for key in keys:
                engine.found(topic, key, relays, self.now)
            self._quiet_turn()

        self._alive(act)
        self._serve()

    def _perform_linking(self) -> None:
        if self.linking is not None:
            self.linking.settle()
            self._perform(self.linking.take())

    def _lost(self, conn: int) -> None:
        """The engine hears once that a connection is gone, whoever ended it."""
        if conn in self._connections:
            self._connections.discard(conn)
            if self.engine_or_none is not None:
                self.engine_or_none.closed(conn, self.now)
            elif self.linking is not None:
                self.linking.closed(conn, self.now)

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
                elif self.linking is not None:
                    self._perform_linking()
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

    def _dial_failed(self, attempt: int) -> None:
        if self.engine_or_none is not None:
            self.engine_or_none.failed(attempt, self.now)
            self._quiet_turn()

    def _happened(self, failed: list[int], events: list[Event]) -> None:
        for vain in failed:
            self._dial_failed(vain)
        frames: list[tuple[int, bytes]] = []
        for event in events:
            if isinstance(event, Frame):
                if frames and frames[0][0] != event.conn:
                    self._frames(frames)
                    frames = []
                frames.append((event.conn, event.data))
                continue
            if frames:
                self._frames(frames)
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
                        self._dial_failed(attempt)
                case Closed(conn=conn, reason=reason):
                    self.world.note("closed", self.name, str(reason))
                    self._lost(conn)
                    self._quiet_turn()
                case Ended(conn=conn):
                    if self.core is not None:
                        self.core.end(conn, self.world.now)  # as `shell_connection` does: nobody listens there
                case _:
                    pass
        if frames:
            self._frames(frames)

    def _frames(self, frames: list[tuple[int, bytes]]) -> None:
        if frames[0][0] not in self._connections:
            return
        if self.engine_or_none is not None:
            self.engine_or_none.frames(frames, self.now)
            self._quiet_turn()
        elif self.linking is not None:
            self.linking.frames(frames, self.now)
            self._perform_linking()

    def _opened(self, event: Opened) -> None:
        attempt = self._dials.pop(event.conn, None)
        self._by_key.pop(event.conn, None)
        self._connections.add(event.conn)
        host, port = event.address
        if self.engine_or_none is not None:
            self.engine_or_none.opened(
                event.conn,
                attempt=attempt if event.initiator else None,
                local=event.local_key,
                remote=event.remote_key,
                handshake=event.handshake_hash,
                address=f"{host}:{port}",
                now=self.now,
            )
            self._quiet_turn()
        elif self.linking is not None:
            self.linking.opened(event.conn, event.remote_key, event.handshake_hash)
            self._perform_linking()

    def _arm(self) -> None:
        core = self.core
        if core is None:
            return
        times = [at for at in (core.next_wake(),) if at < inf]
        if self.engine_or_none is not None:
            times.append(self.engine_or_none.next_wake(self.now) - BORN - self.skew)
        if times:
            self.world.wake_at(self, min(times))
