"""A store that lives on as a new device: after a restore, and in a folder that was copied or moved.

The old S certifies the new device and revokes itself.  In each space where the old feed is an open writer, a new feed
takes its place: its block 0 carries `succeed` (signed by the old W), the close of the old feed and an epoch, in one
entry.  Then S and every old W are forgotten, so two restores of one backup write two feeds and never one of them twice.
One commit: it is done as a whole or not at all.  `docs/protocol.md`, "Clone and restore".
"""

from __future__ import annotations

from crdt.docs.guard import Admit, examine
from crdt.docs.kinds import DocKind
from crdt.docs.own import DeviceName, OwnWriter
from crdt.docs.schema import Value, parse_value
from crdt.log.entry import Kind, decode_plaintext, open_entry, read_block
from crdt.space.lineage import START, End
from crdt.space.moves import succeed
from identity.device import DeviceKeys, new_device
from identity.device_set import generation_of
from identity.statement import Statement, certificate_body, counter_sign, issue, revoke
from sync.account.account import new_account, put_account
from sync.account.context import new_writer
from sync.account.directory import put_statements
from sync.account.former import Former, put_former
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch
from sync.space.feed import EntryState, Feed
from sync.space.space import Space


def become_new_device(profile: Profile, now_ms: int) -> None:
    """The profile's device gives place to a new one; durable when it returns.  Raises what the store raises."""
    context, rng, old = profile.context, profile.rng, profile.account
    name = profile.view.devices.get(old.device)
    now = now_ms / 1000
    keys = new_device(rng, now, profile.kem)
    account = new_account(old.identity, old.kind, rng, now, keys, kem=profile.kem)
    context.account = type(account)(old.identity, account.keys, account.transports, old.kind, old.history)
    put_account(context.batch, context.account)
    put_former(context.batch, Former(old.device, old.keys.agreement, now_ms))
    statements = change_places(profile, old.keys, keys, now_ms)
    put_statements(context.batch, context.directory.learn([statement.encoded for statement in statements]))
    context.directory.become(keys.agreement)
    profile.forget_port()
    values: list[Value] = [DeviceName(keys.id, name or old.kind)]
    before = {space.id: space.mine for space in profile.spaces.values() if space.mine is not None}
    for space in sorted(profile.spaces.values(), key=lambda space: not space.personal):
        values += _take_place(profile, space, now_ms)
    if profile.personal.mine is not None:
        profile.note(now_ms, *values)
    for id_, feed in before.items():
        publish_again(profile, profile.spaces[id_], feed, now_ms)
    profile.commit(now_ms)


def change_places(profile: Profile, old: DeviceKeys, new: DeviceKeys, now_ms: int) -> list[Statement]:
    """The old device's certificate of the new one, and its revocation of itself."""
    identity, created = profile.account.identity, now_ms // 1000
    generation = generation_of(profile.directory.statements(identity), identity) or 0
    signer = (old.signing.public, old.agreement.public)
    body = certificate_body(
        identity, new.signing.public, new.agreement.public, created=created, generation=generation, signer=signer
    )
    certificate = issue(body, counter_sign(body, new.signing), old.signing)
    revocation = revoke(
        identity,
        old.id,
        created=created,
        generation=generation,
        signer=signer,
        key=old.signing,
        stay=[certificate.id],
    )
    return [certificate, revocation]


def _take_place(profile: Profile, space: Space, now_ms: int) -> list[Value]:
    """The new feed of one space, if the old one writes there.  Returns what my other devices are told of it."""
    feed, account = space.mine, profile.account
    if feed is None or feed.key is None:
        return []
    old = space.feed_store.give_up_mine()
    gone = OwnWriter(space.id, feed.writer, on=False)
    if not space.state.open(feed.core):
        return [gone]
    key = new_writer(profile.rng)
    space.found(key)
    new = space.feed_store.by_writer[key.public]
    end = End(feed.length, feed.tree.hash()) if feed.length else START
    ops = succeed(
        old,
        space.id,
        new.core,
        space.graph.tips(new.core),
        end,
        device=account.device,
        statements=profile.directory.encoded(account.identity, account.device),
        prekey=account.keys.prekey.public,
    )
    open_epoch(space, now_ms, ops, recovery=profile.recovery)
    prekey = account.keys.prekey.public
    return [gone, OwnWriter(space.id, new.writer, on=True, device=account.device, prekey=prekey)]


def publish_again(profile: Profile, space: Space, feed: Feed, now_ms: int) -> None:
    """Of a feed that has two histories, what nobody is known to have opened of this one: written once more by the feed
    that follows, with the nonces it had, so under the same message ids.  The others may keep the other history."""
    if feed.writer not in space.feed_store.proofs or not space.may_write:
        return
    profile.write(space, written(space, feed, _opened_by_others(space, feed)), now_ms)


def written(space: Space, feed: Feed, start: int) -> list[list[Value]]:
    """The values of each update of a feed from an entry on, as far as it is open and admitted here."""
    kind = DocKind.PERSONAL if space.personal else DocKind.CHAT
    groups: list[list[Value]] = []
    for seq in range(start, feed.length):
        entry = space.feed_store.entry(feed, seq)
        if entry is None or entry.state is not EntryState.OPENED:
            continue
        text = decode_plaintext(open_entry(entry.key, feed.core, space.id, entry.block, read_block(entry.block, seq)))
        verdict = examine(text.body, feed.core, seq, kind) if text.kind is Kind.UPDATE else None
        if isinstance(verdict, Admit):
            values = [parse_value(kind, put.root, put.json) for put in verdict.puts]
            groups.append([value for value in values if value is not None])
    return [values for values in groups if values]


def _opened_by_others(space: Space, feed: Feed) -> int:
    """How far somebody else is known to have opened this history of a feed."""
    found = 0
    for core, report in space.reports.items():
        for head in report.opened if core != feed.core else ():
            if head.core8 == feed.core[:8] and found < head.length <= feed.length:
                root = space.feed_store.root_at(feed, head.length)
                found = head.length if root is not None and root[:16] == head.root16 else found
    return found
