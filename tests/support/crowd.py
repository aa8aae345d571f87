"""A group of many devices in one process: a real space of its creator, and the others' feeds made by hand.

What the creator's engine does with it is production code; the others are only as much as a roster needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import Tree, leaf_of
from crdt.log.stamp import make_stamp
from crdt.space.consent import sign_consent
from crdt.space.control import Add, Admit, ControlBody, SpaceKind, encode_control
from crdt.space.grant import OpenedGrant
from identity.device import DeviceKeys, new_device
from identity.kem import Kem
from identity.keys import Random, SigningKey
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from sync.account.account import Account, new_account
from sync.account.context import Context
from sync.account.directory import Directory
from sync.engine.profile import Profile, found_profile
from sync.space.epochs import found_space, open_epoch, write_control
from sync.space.space import Space
from sync.store.memory import MemoryStore
from tests.support.streams import stream

NOW = 1_790_000_000
MS = NOW * 1000


@dataclass(frozen=True, slots=True)
class Other:
    """A device of somebody in the group, with the key of its feed there."""

    identity: bytes
    keys: DeviceKeys
    certificate: bytes
    writer: SigningKey


def founder(rng: Random, kem: Kem | None) -> Profile:
    """Somebody with one device and no other."""
    phrase = phrase_keys(new_phrase(rng), kem)
    account = new_account(phrase.root.public, "phone", rng, NOW, kem=kem)
    keys = account.keys
    certificate = root_certificate(phrase.root, keys.signing, keys.agreement.public, created=NOW, generation=NOW)
    store = MemoryStore()
    found_profile(store, account, [certificate], phrase.recovery.public, "Ada", MS, rng, kem)
    return Profile(store, rng, kem)


def crowd(
    members: int, devices: int, kem: Kem | None, others_kem: Kem | None, seed: str = "crowd"
) -> tuple[Profile, Space, list[Other]]:
    """The creator's profile, a group in it with `members` others of `devices` devices each, and those devices.

    Everybody is in the fold; the newest epoch is that of the group's founding, so the next one is for all.
    """
    rng = stream(seed)
    profile = founder(rng, kem)
    space = found_space(profile.context, SpaceKind.GROUP, "crowd", MS, key=SigningKey.generate(rng))
    profile.spaces[space.id] = space
    assert space.mine is not None
    space.found()
    people: list[Other] = []
    for _ in range(members):
        root = SigningKey.generate(rng)
        first, *more = (_other(root, rng, others_kem) for _ in range(devices))
        consent = _consent(space, space.mine.core, first, first.identity)
        prekey = first.keys.prekey.public
        add = Add(first.identity, first.writer.public, first.keys.id, (first.certificate,), prekey, consent)
        write_control(space, [add], MS)
        core = core_key(first.writer.public)
        admits = [
            Admit(
                one.writer.public,
                one.keys.id,
                (one.certificate,),
                one.keys.prekey.public,
                _consent(space, core, one, None),
            )
            for one in more
        ]
        if admits:
            _write(space, first, admits)
        people += [first, *more]
    space.finish(MS)
    return profile, space, people


def reader(profile: Profile, space: Space, other: Other, kem: Kem | None) -> Space:
    """The group as that device sees it, once it was handed every block.  What came before it, which it would get as
    items, it reads with the keys of the epochs that it was not in."""
    there = stranger(profile, space, other, kem)
    there.members.vouch(space.feed_store.feeds)
    for epoch in space.state.epochs.values():
        if other.keys.id not in {place.device for place in epoch.roster}:
            key = space.keys[epoch.id]
            there.epoch_keys.learn(epoch.id, OpenedGrant(key.secret, key.z, None))
    hand(space, there)
    return there


def stranger(profile: Profile, space: Space, other: Other, kem: Kem | None) -> Space:
    """The group on that device before it has heard of anything but who is in it."""
    account = Account(other.identity, other.keys, ())
    context = Context(MemoryStore(), stream("reader"), account, Directory(other.keys.agreement), kem)
    identities = {member.identity for member in space.state.members.values()}
    context.directory.learn([told for identity in identities for told in profile.context.directory.encoded(identity)])
    there = Space(context, space.id, personal=False)
    there.feed_store.feed(other.writer.public, other.writer)
    return there


def hand(space: Space, there: Space) -> None:
    """Every block that the other side lacks; whoever wrote it is believed."""
    for feed in space.feed_store.feeds.values():
        have = there.feed_store.feeds[feed.core].length if feed.core in there.feed_store.feeds else 0
        if feed.length <= have:
            continue
        blocks = list(space.feed_store.blocks(feed.writer, have, feed.length, 1 << 30))
        leaves = [leaf_of(block) for block in blocks if isinstance(block, bytes)]
        before = there.feed_store.feeds[feed.core].tree if have else Tree()
        tree, nodes = before.extend(leaves)
        there.inbound.absorb(feed.writer, have, blocks, leaves, tree, nodes, feed.head, MS)
    for _ in range(3):
        there.finish(MS)
        there.context.store.write(there.context.batch, durable=True)
        there.context.batch = type(there.context.batch)()
        there.committed()


def _other(root: SigningKey, rng: Random, kem: Kem | None) -> Other:
    keys = new_device(rng, NOW, kem)
    made = root_certificate(root, keys.signing, keys.agreement.public, created=NOW, generation=NOW)
    return Other(root.public, keys, made.encoded, SigningKey.generate(rng))


def _consent(space: Space, admitting: bytes, one: Other, identity: bytes | None) -> bytes:
    return sign_consent(
        one.writer, space.id, admitting, identity=identity, device=one.keys.id, prekey=one.keys.prekey.public
    )


def _write(space: Space, author: Other, ops: list[Admit]) -> None:
    """Block 0 of that device's feed, under the epoch in use."""
    core, secret = core_key(author.writer.public), next(iter(space.keys.values())).secret
    body = encode_control(ControlBody(space.graph.tips(core), tuple(ops)))
    text = encode_plaintext(Plaintext(Kind.CONTROL, make_stamp(MS), (), body))
    key, tag = message_key(secret, core, 0)
    block = seal_entry(key, tag, core, space.id, 0, text)
    tree, nodes = Tree().extend([leaf_of(block)])
    head = sign_head(author.writer, tree)
    space.inbound.absorb(author.writer.public, 0, [block], [leaf_of(block)], tree, nodes, head, MS)
    space.finish(MS)


__all__ = ["MS", "NOW", "Other", "crowd", "founder", "hand", "open_epoch", "reader", "stranger"]
