"""The storm: two people, five devices, everything that can go wrong, and what must hold once it is over.

One seed decides who writes what and when, what the wires lose, who is cut off from whom, which call of which store
crashes, and how long each device stays off.  `weather_it` raises AssertionError with the command that replays the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from identity.errors import KithkinError
from sync.engine.engine import Engine
from sync.space import timeline
from sync.space.space import Space
from sync.store.memory import When
from tests.support.device import NOTES, Device, Died
from tests.support.wires import CLEAR, STORM
from tests.support.world import World, chats_of

MOVES = 70  # things that happen in one storm
CLUB = "club"
LATE = 60.0  # virtual seconds after which a pairing in the storm is given up


@dataclass(slots=True)
class Story:
    """What people did, and what they were told of it."""

    told: dict[str, tuple[str, str]] = field(default_factory=dict)  # text -> (chat, device) whose send returned
    tried: dict[str, tuple[str, str]] = field(default_factory=dict)  # text -> the same, whatever came of it
    readers: dict[str, set[str]] = field(default_factory=dict)  # text -> who was a member as its author knew it
    ids: dict[str, str] = field(default_factory=dict)  # text -> shown message id
    edited: dict[str, str] = field(default_factory=dict)  # first text -> last text told
    touched: set[str] = field(default_factory=set)  # texts that were edited or deleted, perhaps in vain
    crashes: int = 0
    refused: int = 0


class Storm:
    """`world` and the five devices; `story` grows as it goes.  apart: nobody ever knows an address, devices move from
    house to house, and the DHT that is to lead them together loses and lies.  mirrors: as in `World`."""

    def __init__(self, seed: int, moves: int = MOVES, *, apart: bool = False, mirrors: bool = False) -> None:
        self.seed = seed
        self.moves = moves
        self.apart = apart
        self.world = World(seed, dht=apart, hints=not apart, mirrors=mirrors)
        self.luck = Random(f"{seed}/story")
        self.story = Story()
        self.late = ("nobody", "tablet", "club")[seed % 3]  # what joins in the middle of it

    def run(self) -> Storm:
        world, luck = self.world, self.luck
        self._setting()
        world.restart_after = self._crashed
        world.wires.weather = STORM
        if world.dht is not None:
            world.dht.loss, world.dht.lies = 0.3, 2
        for move in range(self.moves):
            if move == self.moves // 3:
                self._newcomer()
            world.run(luck.uniform(0.02, 1.5))
            self._move(move)
        self._calm()
        return self

    # -- the story --------------------------------------------------------------------------------------------

    def _setting(self) -> None:
        world = self.world
        self.ada = list(world.linked("Ada", devices=2 if self.late == "tablet" else 3))
        self.bob = list(world.linked("Bob", devices=2))
        for device in world.devices:
            device.skew = self.luck.uniform(-90.0, 90.0)
        world.friends(self.ada[0], self.bob[0])
        if self.late != "club":
            world.grouped(CLUB, self.ada[0], self.bob[1])

    def _newcomer(self) -> None:
        """A device is linked, or a group founded, while everything goes wrong; done again later if it fails."""
        if self.late == "club":
            self.ada[0].restart() if not self.ada[0].up else None
            try:
                self.ada[0].group(CLUB, self.bob[0])
            except (Died, KithkinError):
                return
        elif self.late == "tablet" and self.ada[0].up:
            try:
                self.world.link(self.ada[0], "tablet", settle=False, patience=LATE)
            except (Died, KithkinError, AssertionError):
                self.world.forget("Ada-tablet")

    def _crashed(self, device: Device) -> float:
        self.story.crashes += 1
        return self.luck.uniform(0.05, 8.0)

    def _move(self, number: int) -> None:
        luck, world = self.luck, self.world
        roll = luck.random()
        device = luck.choice(world.devices)
        try:
            if roll < 0.55:
                self._say(device, number)
            elif roll < 0.65:
                self._change(device)
            elif roll < 0.70:
                device.read(luck.choice(self._chats(device)))
            elif roll < 0.78:
                parts: list[list[Device]] = [[], [], []]
                for one in world.devices:
                    luck.choice(parts).append(one)
                world.wires.heal()
                world.cut(*parts)
            elif roll < 0.83:
                world.wires.heal()
            elif roll < 0.93:
                device.misfortune.when = luck.choice((When.BEFORE, When.AFTER))
                device.misfortune.crash_in = int(luck.expovariate(1 / 25))
            elif roll < 0.96:
                device.misfortune.refuse_writes = luck.randint(1, 3)
            elif device.up:
                device.stop()
                if self.apart:
                    device.move()
                world.at(luck.uniform(0.1, 20.0), device.boot_again)
        except Died:
            pass
        except KithkinError as refusal:
            if refusal.code not in ("disk_full", "not_found", "not_allowed"):
                raise
            self.story.refused += 1
        if self.late == "club":
            self._join()

    def _join(self) -> None:
        for device in self.bob:
            if device.up and not any(
                c.kind == "group" and c.state == "active" for c in device.engine.profile.view.chats.values()
            ):
                try:
                    device.join(CLUB)
                except (Died, KithkinError, StopIteration):
                    continue
                return

    def _chats(self, device: Device) -> list[str]:
        return [NOTES, "Bob" if device.owner == "Ada" else "Ada", CLUB]

    def _say(self, device: Device, number: int) -> None:
        chat = self.luck.choice(self._chats(device))
        text = f"{number} {device.name} in {chat}"
        space = device.space(chat)
        self.story.tried[text] = (space.id.hex(), device.name)
        self.story.ids[text] = device.send(chat, text)
        self.story.told[text] = (space.id.hex(), device.name)
        state = space.state
        owners = {identity: owner for owner, identity in self.world.identities.items()}
        self.story.readers[text] = {owners[m.identity] for m in state.members.values() if state.active(m.id)}

    def _change(self, device: Device) -> None:
        """Edits, deletes or marks a message that its author was told is sent."""
        mine = sorted(text for text, (_, name) in self.story.told.items() if name.split("-")[0] == device.owner)
        if not mine:
            return
        text = self.luck.choice(mine)
        home, _ = self.story.told[text]
        space = device.engine.profile.spaces.get(bytes.fromhex(home))
        if space is None:
            return
        what = self.luck.choice(("edit", "delete", "react", "react"))
        if what != "react":
            self.story.touched.add(text)
        device.change(space, what, self.story.ids[text], f"{text}, edited on {device.name}")

    # -- afterwards -------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        world = self.world
        world.restart_after = lambda device: None
        world.wires.weather = CLEAR
        if world.dht is not None:
            world.dht.loss, world.dht.lies = 0.0, 0
        for device in world.devices:
            device.misfortune.crash_in = None
            device.misfortune.refuse_writes = 0
        world.heal()
        world.settle()
        if self.late == "tablet" and len(world.devices) < 5:
            world.link(self.ada[0], "tablet")
        if self.late == "club":
            if not any(c.kind == "group" for c in self.ada[0].engine.profile.view.chats.values()):
                self.ada[0].group(CLUB, self.bob[0])
                world.settle()
            self._join()
            world.settle()

    def check(self) -> None:
        world, story = self.world, self.story
        devices = world.devices
        assert len(devices) == 5
        for device in devices:
            assert not device.errors or all(getattr(e, "code", "") == "disk_full" for e in device.errors), device.errors
        ids = sorted({space.id for device in devices for space in chats_of(device)})
        for id_ in ids:
            holders = [device for device in devices if id_ in device.engine.profile.spaces]
            spaces = {device.name: device.engine.profile.spaces[id_] for device in holders}
            kind = next(iter(spaces.values())).kind.name
            expected = 5 if kind in ("DIRECT", "GROUP") else sum(d.owner == holders[0].owner for d in devices)
            assert len(holders) == expected, f"{kind} {id_.hex()[:6]} is on {holders} alone"
            self._agree(kind, spaces, whole=kind != "GROUP" or self.late != "club")
            for owner in ("Ada", "Bob"):
                own = {d.name: spaces[d.name] for d in holders if d.owner == owner}
                if own:
                    self._agree(kind, own)
        for owner in ("Ada", "Bob"):
            self._agree("PERSONAL", {d.name: d.engine.profile.personal for d in devices if d.owner == owner})
            views = [repr_view(d) for d in devices if d.owner == owner]
            assert len(set(views)) == 1, f"{owner}'s devices disagree about what is theirs"
        for device in devices:
            texts: dict[str, list[str]] = {}
            for space in chats_of(device):
                texts[space.id.hex()] = [
                    row.text for row in timeline.page(device.store, space.id, 100_000) if not row.deleted
                ]
            for text, (home, _) in story.told.items():
                if home not in texts or text in story.touched or device.owner not in story.readers[text]:
                    continue
                assert texts[home].count(text) == 1, f"{device.name} has {text!r} {texts[home].count(text)} times"
            for text, (home, _) in story.tried.items():
                assert texts.get(home, []).count(text) <= 1, f"{device.name} has {text!r} twice"
            assert world.outbox(device) == [], f"{device.name}'s outbox: {world.outbox(device)}"
        self._rests()
        self._recovers()

    def _agree(self, kind: str, spaces: dict[str, Space], *, whole: bool = True) -> None:
        """Equal frontiers, equal membership, equal rows in equal order; nothing sealed, nothing missing.

        whole False: rows are left out, since who joined late may have fewer of them.
        """
        first, *others = spaces.items()
        for name, space in spaces.items():
            sealed = {feed.core.hex()[:6]: (feed.opened, feed.length) for feed in space.feed_store.feeds.values()}
            assert not space.inbound.sealed, f"{kind} on {name} has entries that it cannot open: {sealed}"
            assert not space.graph.missing(), f"{kind} on {name} lacks control entries"
            assert not space.feed_store.item_seqs or not any(space.feed_store.item_seqs.values()), (
                f"{kind} on {name}: items left"
            )
            assert space.mine is not None and space.state.open(space.mine.core), f"{name} may not write in {kind}"
        for name, space in others:
            mine, theirs = (shape_of(one, rows=whole, deleted=False) for one in (first[1], space))
            for one, other in zip(mine, theirs, strict=True):
                assert one == other, f"{kind} differs between {first[0]} and {name}:\n{one}\n{other}"

    def _rests(self) -> None:
        """Nothing goes round in circles: once the receipts are out, hardly anything is written, dialled or sent."""
        world = self.world
        world.run(200.0)
        before = dict(world.trace.count), sum(device.commits for device in world.devices)
        world.run(600.0)
        after = dict(world.trace.count), sum(device.commits for device in world.devices)
        dials = after[0].get("dial", 0) - before[0].get("dial", 0)
        assert dials <= 2, f"{dials} dials in ten quiet minutes\n{world.trace.tail()}"
        commits = after[1] - before[1]
        assert commits <= 10 * len(world.devices), f"{commits} commits in ten quiet minutes"

    def _recovers(self) -> None:
        """Starting is recovering: an engine over the same store says the same."""
        for device in self.world.devices:
            twin = Engine(device.store, device.rng, device.now, device.kem)
            for id_, space in device.engine.profile.spaces.items():
                assert shape_of(space) == shape_of(twin.profile.spaces[id_]), f"{device.name} after a restart"


def shape_of(space: Space, *, rows: bool = True, deleted: bool = True) -> tuple[object, ...]:
    """What all devices of a space must agree on.  deleted: with the rows of deleted messages, which a device does not
    have that came when the bytes were gone already."""
    state, shown = space.state, []
    if rows and not space.personal:
        # When a row arrived is each device's own business.
        stored = timeline.page(space.context.store, space.id, 100_000)
        shown = [replace(row, arrived=0) for row in stored if deleted or not row.deleted]
    return (
        sorted(
            (f.writer.hex()[:8], f.length, f.opened, f.tree.hash().hex()[:8]) for f in space.feed_store.feeds.values()
        ),
        shown,
        sorted((w.writer.hex()[:8], w.open) for w in state.writers.values()),
        sorted((m.id.hex()[:8], m.rank) for m in state.members.values()),
        space.z.hex()[:8] if space.z else None,
    )


def repr_view(device: Device) -> str:
    view = device.engine.profile.view
    return repr(
        (
            view.profile,
            sorted(view.contacts.items()),
            sorted(view.chats.items()),
            sorted(view.marks.items()),
            sorted(view.devices.items()),
        )
    )


def command(seed: int, *, apart: bool = False) -> str:
    return f"python -m tests.simulation.soak --seed {seed}" + (" --apart" if apart else "")


def weather_it(seed: int, moves: int = MOVES, *, apart: bool = False) -> Storm:
    """Runs and checks one seed."""
    storm = Storm(seed, moves, apart=apart)
    try:
        storm.run().check()
    except Exception as error:
        tail = storm.world.trace.tail()
        raise AssertionError(f"seed {seed}: {error}\n{tail}\nreplay it:  {command(seed, apart=apart)}") from error
    return storm
