"""Founding spaces, opening epochs, letting go of their keys: control entries come with the grants that go with them.

Every grant is made from the state as it will be once the entry stands (`graph.preview`).  `docs/protocol.md`, "Epochs".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from crdt.log.entry import Kind
from crdt.log.manifest import core_key
from crdt.log.merkle import Leaf
from crdt.space.control import ControlBody, Create, Op, Slots, SpaceKind, encode_control
from crdt.space.epoch import dormant, droppable, epoch_op, next_z, recipients, recovers
from crdt.space.grant import MAX_SLOTS, OpenedGrant, make_grant
from crdt.space.rendezvous import space_id
from identity.device import week_of
from identity.kem import is_hybrid
from identity.keys import SigningKey
from sync.account.context import Context
from sync.space.obligations import gave_way, owed_ops, owes_epoch, refuse_out
from sync.space.outbound import Draft
from sync.space.space import Space


def found_space(
    context: Context,
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
    account = context.account
    space = Space(context, space_id(core_key(key.public)), personal=kind is SpaceKind.PERSONAL)
    space.feed_store.feed(key.public, key)
    create = Create(
        kind,
        title,
        account.identity,
        account.device,
        context.directory.encoded(account.identity, account.device),
        account.keys.prekey.public,
    )
    open_epoch(space, now_ms, [create], z=z, recovery=recovery)
    return space


def open_epoch(
    space: Space, now_ms: int, ops: Sequence[Op] = (), *, z: bytes | None = None, recovery: bytes | None = None
) -> Leaf:
    """Writes `ops`, what this device owes the space beside them, and the epoch they call for, in one entry.  Returns
    its leaf.  Raises KithkinError `not_allowed` where this device is out.

    recovery: the phrase's public keys.  Where the epoch is for more devices than a grant has slots, further entries
    with the rest follow at once: they are durable together with it.
    """
    context, feed = space.context, space.mine
    if feed is None:
        raise ValueError("no feed of mine in this space")
    refuse_out(space)
    left_out = gave_way(space)
    ops = (*owed_ops(space), *ops)
    parents = space.graph.tips(feed.core)
    after = space.graph.preview(feed.writer, ops, seq=feed.length, parents=parents)
    z = z or next_z(context.rng, after, space.keys)
    secret = context.rng(32)
    latest = {
        core: (space.feed_store.record_seen.get(writer.writer, now_ms), space.reports[core].prekey)
        for core, writer in after.writers.items()
        if core in space.reports
    }
    slots, classical = [], set()
    for one in recipients(after, feed.core, latest, now_ms):
        if context.directory.is_out(one.device):
            continue  # whatever the fold makes of it: nothing is sealed to a device that is known here to be out
        prekey = context.account.keys.prekey.public if one.writer == feed.writer else one.prekey
        slots.append((one.agreement, prekey))
        if context.kem is None or not is_hybrid(prekey):
            classical.add(one.writer)
    recovery = recovery if recovers(space.kind) or not space.graph else None
    room = MAX_SLOTS - (recovery is not None)
    shared = space.epoch_keys.shared.renew(feed.core, week_of(now_ms / 1000))
    slots = shared.sort(slots)

    def granting(part: Sequence[tuple[bytes, bytes]], recovery: bytes | None = None) -> Callable[[int], bytes]:
        return lambda seq: make_grant(
            context.rng,
            secret,
            z,
            feed.core,
            seq,
            space.id,
            context.account.keys.agreement,
            part,
            recovery,
            kem=context.kem,
            shared=shared,
        )

    body = encode_control(ControlBody(parents, (*ops, epoch_op(after, z, classical))))
    draft = Draft(Kind.CONTROL, lambda seq: body, granting(slots[:room], recovery), secret)
    ((opened, leaf),) = space.append([draft], now_ms)
    space.epoch_keys.learn(leaf[1], OpenedGrant(secret, z, None))
    space.members.left_out.update(left_out)
    for start in range(room, len(slots), MAX_SLOTS):
        more = encode_control(ControlBody(space.graph.tips(feed.core), (Slots(leaf[1], opened),)))
        part = granting(slots[start : start + MAX_SLOTS])
        space.append([Draft(Kind.CONTROL, partial(_always, more), part, secret)], now_ms)
    if space.z is None:
        space.epoch_keys.set_z(z)
    return leaf


def _always(body: bytes, seq: int) -> bytes:
    """A body that is the same whatever its place."""
    return body


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
    """Opens an epoch where none fits what is known, or the one in use is worn.  Raises as `open_epoch`."""
    refuse_out(space)
    keys = space.epoch_keys
    if owes_epoch(space) or gave_way(space) or keys.in_use(now_ms) is None or keys.worn(now_ms):
        open_epoch(space, now_ms, recovery=recovery)


def drop_keys(space: Space, now_ms: int) -> None:
    """Forgets epoch keys that nothing can need any more: superseded for 60 days, or known to be so by everybody."""
    current = {e.id[:8] for e in space.state.epochs.values() if not e.superseded}
    keyring, me = space.epoch_keys.keyring, space.context.account.device
    behind: list[bytes] = []
    for core, device in space.members.rostered():
        report, feed = space.reports.get(core), space.feed_store.feeds.get(core)
        if device == me or (report is not None and dormant(report.at, now_ms)):
            continue
        wrote = 0 if report is None else next((h.length for h in report.stored if h.core8 == core[:8]), 0)
        # It may still write under the old epoch, or has written what is not here yet.
        if report is None or not current <= set(report.epochs) or feed is None or feed.opened < wrote:
            behind.append(device)
    for epoch, at in list(keyring.superseded.items()):
        # What a device that is behind still writes under an epoch with erased entries comes as items.
        waiting = () if epoch in space.erasing.stained else behind
        if droppable(at, now_ms, unopened=waiting, pending=bool(space.inbound.sealed)):
            space.epoch_keys.drop(epoch)
