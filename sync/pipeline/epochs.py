"""Founding spaces and opening epochs: the control entries that a device writes, with the grants that go with them.

Every grant is made from the state as it will be once the entry stands (`graph.preview`).  `docs/protocol.md`, "Epochs".
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.log.entry import Kind
from crdt.log.merkle import Leaf
from crdt.space.control import ControlBody, Create, Op, SpaceKind, encode_control
from crdt.space.epoch import epoch_op, next_z, recipients, recovers
from crdt.space.grant import Opened, make_grant
from crdt.space.rendezvous import space_id
from identity.keys import SigningKey
from sync.pipeline.space import Draft, Home, Space


def found_space(
    home: Home,
    kind: SpaceKind,
    title: str,
    now_ms: int,
    *,
    key: SigningKey,
    z: bytes | None = None,
    recovery: bytes | None = None,
) -> Space:
    """A new space: its create and its first epoch, in one entry.

    key: W of its creator, from which its id follows; z: the rendezvous secret, if it was told to somebody already.
    """
    account = home.account
    space = Space(home, space_id(Space.core_of(key)), personal=kind is SpaceKind.PERSONAL)
    space.mine = space.shelf.feed(key.public, key)
    create = Create(
        kind,
        title,
        account.identity,
        account.device,
        home.directory.encoded(account.identity),
        account.keys.prekey.public,
    )
    open_epoch(space, now_ms, [create], z=z, recovery=recovery)
    return space


def open_epoch(
    space: Space, now_ms: int, ops: Sequence[Op] = (), *, z: bytes | None = None, recovery: bytes | None = None
) -> Leaf:
    """Writes `ops` and the epoch they call for in one entry.  Returns its leaf."""
    home, feed = space.home, space.mine
    if feed is None:
        raise ValueError("no feed of mine in this space")
    parents = space.graph.tips(feed.core)
    after = space.graph.preview(feed.writer, ops, seq=feed.length, parents=parents)
    z = z or next_z(home.rng, after, space.keys)
    secret = home.rng(32)
    latest = {
        core: (space.shelf.record_seen.get(writer.writer, now_ms), space.reports[core].prekey)
        for core, writer in after.writers.items()
        if core in space.reports
    }
    slots = []
    for one in recipients(after, feed.core, latest, now_ms):
        prekey = home.account.keys.prekey.public if one.writer == feed.writer else one.prekey
        slots.append((one.agreement, prekey))
    body = encode_control(ControlBody(parents, (*ops, epoch_op(after, z))))
    recovery = recovery if recovers(space.kind) or not space.graph else None

    def grant(seq: int) -> bytes:
        return make_grant(home.rng, secret, z, feed.core, seq, space.id, home.account.keys.agreement, slots, recovery)

    ((_, leaf),) = space.append([Draft(Kind.CONTROL, lambda seq: body, grant, secret)], now_ms)
    space.learn_key(leaf[1], Opened(secret, z, None))
    if space.z is None:
        space.set_z(z)
    return leaf


def write_control(space: Space, ops: Sequence[Op], now_ms: int) -> Leaf:
    """Writes `ops` without an epoch, under the key in use."""
    feed = space.mine
    if feed is None:
        raise ValueError("no feed of mine in this space")
    ensure_key(space, now_ms)
    body = encode_control(ControlBody(space.graph.tips(feed.core), tuple(ops)))
    ((_, leaf),) = space.append([Draft(Kind.CONTROL, lambda seq: body)], now_ms)
    return leaf


def ensure_key(space: Space, now_ms: int, recovery: bytes | None = None) -> None:
    """Opens an epoch where none fits what is known, or the one in use is worn."""
    if space.key_in_use(now_ms) is None or space.worn(now_ms):
        open_epoch(space, now_ms, recovery=recovery)
