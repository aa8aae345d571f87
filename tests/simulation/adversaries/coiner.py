"""A member coins false grants: another E, no slots, foreign ciphertexts, carriers that are none, two Z, others' epochs.

Held by: what a slot holds is learnt only if the entry opens under it and its operation names that Z (`EpochKeys.read`);
further slots count only of an epoch that the same feed opened under the same E (`EpochKeys._proves`); a slot's key
binds its ciphertext, and a slot names an earlier grant of its own feed alone (`crdt/space/grant.py`); and two of whom
one alone got a slot meet under a Z that both had before (`DeviceHandshake._fall_back`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from crdt.log.entry import Kind, message_key, open_entry, read_block
from crdt.space.control import ControlBody, Epoch, Op, Slots, encode_control
from crdt.space.epoch import proves_z, z_check
from crdt.space.grant import EpochGrant, Slot, decode_grant, encode_grant, make_grant
from identity.errors import DecodeError
from identity.kem import CIPHERTEXT
from sync.space.epochs import ensure_key
from sync.space.outbound import Draft
from sync.space.space import Space
from tests.support.device import Device
from tests.support.household import agree, written
from tests.support.world import World

Spoil = Callable[[EpochGrant], EpochGrant]
BOUND = 12  # entries that an honest device may write in a group because of one coin, its two messages among them


def play(seed: str) -> None:
    world = World(seed)
    ada, mal, bob, eve = (world.person(name) for name in ("Ada", "Mal", "Bob", "Eve"))
    for one, other in ((ada, mal), (ada, bob)):
        world.friends(one, other)
    coins = COINS[int(seed.rpartition("/")[2]) % 2 :: 2]
    groups = [f"club {number}" for number in range(len(coins))]
    for title in groups:
        world.grouped(title, ada, mal, bob)
    before = {device: written(device) for device in (ada, bob)}
    for title, coin in zip(groups, coins, strict=True):
        coin(Coiner(mal, title, [ada, bob, mal], eve))
    world.run(0.5)
    keys_are_sound(groups, ada, bob)
    world.run(3)
    for part in ("in", "again in"):
        for title in groups:
            for device in (ada, bob):
                device.send(title, f"{device.owner} {part} {title}")
        world.run(10)
    for _ in range(2):  # within one connection, and after a restart
        for title in groups:
            agree([ada, bob], title)
            assert len(world.texts(ada, title)) == 4, (title, world.texts(ada, title))
        keys_are_sound(groups, ada, bob)
        for device in (ada, bob):
            device.restart()
        world.run(10)
    for device in (ada, bob):
        assert written(device) - before[device] <= BOUND * len(groups), written(device) - before[device]


def keys_are_sound(groups: list[str], *devices: Device) -> None:
    """Nobody holds a key or a Z of an epoch that is not the one which its entry was made with."""
    for title in groups:
        spaces = [device.space(title) for device in devices]
        for id_, epoch in spaces[0].state.epochs.items():
            keys = [space.keys[id_] for space in spaces if id_ in space.keys]
            assert len({key.secret for key in keys}) <= 1, f"{title}: one entry told two secrets"
            assert all(proves_z(epoch, key.z) for key in keys), f"{title}: one entry told another Z than it names"
        for space in spaces:
            for id_ in space.keys:
                assert opens(space, id_), f"{title}: a key that is not its epoch's"


def opens(space: Space, epoch: bytes) -> bool:
    """Whether the key that is held for an epoch opens the entry that opened it."""
    entry = space.graph.entry(epoch)
    feed = space.feed_store.feeds.get(entry.core) if entry is not None else None
    stored = space.feed_store.entry(feed, entry.seq) if entry is not None and feed is not None else None
    if entry is None or stored is None:
        return True  # it waits, and nothing is sealed under it
    key = message_key(space.keys[epoch].secret, entry.core, entry.seq)[0]
    try:
        open_entry(key, entry.core, space.id, stored.block)
    except DecodeError:
        return False
    return True


class Coiner:
    """Mal's hand in one group, and whom he has in mind."""

    def __init__(self, mal: Device, title: str, everybody: list[Device], stranger: Device) -> None:
        self.mal, self.title, self.everybody, self.stranger = mal, title, everybody, stranger
        self.rng = mal.rng

    @property
    def space(self) -> Space:
        return self.mal.space(self.title)

    def coin(
        self,
        *to: Device,
        other: bool = False,
        check: bytes | None = None,
        spoil: Spoil = lambda grant: grant,
        ops: tuple[Op, ...] | None = None,
    ) -> None:
        """An entry that opens an epoch, or does `ops`, with a grant to these devices.  other: its slots hold another E;
        check: of another Z; spoil: what is done to the grant."""
        space, secret, z = self.space, self.rng(32), self.rng(32)
        assert space.mine is not None
        core = space.mine.core
        over = tuple(sorted(e.id for e in space.state.epochs.values() if not e.superseded))
        opened = ops or (Epoch(space.state.roster, over, check or z_check(z)),)
        body = encode_control(ControlBody(space.graph.tips(core), opened))
        told = self.rng(32) if other else secret
        keys = [device.engine.profile.account.keys for device in to]
        slots = [(one.agreement.public, one.prekey.public) for one in keys]

        def grant(seq: int) -> bytes:
            mine = self.mal.engine.profile.account.keys.agreement
            made = make_grant(self.rng, told, z, core, seq, space.id, mine, slots, None, kem=self.mal.kem)
            return encode_grant(spoil(decode_grant(made)))

        def write(engine: object) -> None:
            now_ms = int(self.mal.now * 1000)
            ensure_key(space, now_ms)
            space.append([Draft(Kind.CONTROL, lambda seq: body, grant, secret)], now_ms)

        self.mal.do(write)


def each(change: Callable[[Slot], Slot]) -> Spoil:
    return lambda grant: replace(grant, slots=tuple(map(change, grant.slots)))


def another_e(c: Coiner) -> None:
    c.coin(*c.everybody, other=True)


def no_slot_but_his(c: Coiner) -> None:
    c.coin(c.mal)


def a_strangers_slot(c: Coiner) -> None:
    c.coin(c.everybody[0], c.mal, c.stranger)


def an_epoch_for_each(c: Coiner) -> None:
    """One that Ada alone opens, one that Bob alone opens, each with a Z of its own."""
    ada, bob, mal = c.everybody
    c.coin(ada, mal)
    c.coin(bob, mal)


def another_z(c: Coiner) -> None:
    c.coin(*c.everybody, check=z_check(c.rng(32)))


def foreign_ciphertexts(c: Coiner) -> None:
    c.coin(*c.everybody, spoil=each(lambda slot: replace(slot, kem=c.rng(CIPHERTEXT))))


def carriers_that_are_none(c: Coiner) -> None:
    mine = c.space.mine
    assert mine is not None
    for seq in (0, mine.length, 2**40 - 1):
        c.coin(*c.everybody, spoil=each(lambda slot, seq=seq: replace(slot, kem=seq.to_bytes(8, "little"))))  # type: ignore[misc]


def further_slots_of_anothers_epoch(c: Coiner) -> None:
    """Under his own E, of the epoch that Ada opened: at the place where it stands in her feed, and in his."""
    for info in list(c.space.state.epochs.values()):
        c.coin(*c.everybody, ops=(Slots(info.id, info.seq),))


def a_grant_taken_from_ada(c: Coiner) -> None:
    """Her bytes before his ciphertext."""
    space = c.space
    (newest, *_) = sorted(space.state.epochs.values(), key=lambda e: (e.superseded, -e.seq))
    block = next(iter(space.epoch_keys.grants_of(newest)))[1]
    stolen = decode_grant(read_block(block, newest.seq).grant)
    c.coin(*c.everybody, spoil=lambda grant: stolen)


COINS: tuple[Callable[[Coiner], None], ...] = (
    another_e,
    no_slot_but_his,
    a_strangers_slot,
    an_epoch_for_each,
    another_z,
    foreign_ciphertexts,
    carriers_that_are_none,
    further_slots_of_anothers_epoch,
    a_grant_taken_from_ada,
)
