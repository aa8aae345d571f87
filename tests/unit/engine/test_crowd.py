"""Epochs for more devices than a grant has slots, in real spaces: who opens them, what travels once."""

from __future__ import annotations

import pytest

from crdt.log.entry import Kind, read_block
from crdt.space.control import ControlBody, Slots, encode_control
from crdt.space.grant import MAX_SLOTS, Shared, decode_grant, make_grant
from identity.kem import CIPHERTEXT
from sync.engine.hello import MAX_HANDOVER, decode_handover, encode_handover, told_epoch
from sync.engine.profile import Profile
from sync.space.outbound import Draft
from sync.space.space import Space
from tests.support.crowd import MS, Other, crowd, hand, open_epoch, reader, stranger
from tests.support.kem import SIMULATED

WEEK = 7 * 86_400_000


@pytest.fixture(scope="module")
def large() -> tuple[Profile, Space, list[Other]]:
    """Thirteen others with six devices each: 79 with the creator, so two entries an epoch."""
    return crowd(13, 6, SIMULATED, SIMULATED)


def carried(space: Space, seqs: range) -> list[int]:
    """How many ciphertexts each of these entries of the creator's feed carries."""
    grants = [decode_grant(read_block(block, seq).grant) for seq, block in zip(seqs, blocks(space, seqs), strict=True)]
    return [sum(len(slot.kem) == CIPHERTEXT for slot in grant.slots) for grant in grants]


def blocks(space: Space, seqs: range) -> list[bytes]:
    assert space.mine is not None
    found = space.feed_store.blocks(space.mine.writer, seqs.start, seqs.stop, 1 << 30)
    assert all(isinstance(block, bytes) for block in found)
    return [block for block in found if isinstance(block, bytes)]


def opened(space: Space, now_ms: int = MS) -> tuple[bytes, range]:
    """A new epoch: its id, and the entries that tell it."""
    assert space.mine is not None
    start = space.mine.length
    _, epoch = open_epoch(space, now_ms)
    space.finish(now_ms)
    return epoch, range(start, space.mine.length)


def test_an_epoch_for_many_devices_is_told_in_entries_of_at_most_64_slots(
    large: tuple[Profile, Space, list[Other]],
) -> None:
    profile, space, people = large
    epoch, seqs = opened(space)
    grants = [decode_grant(read_block(block, seq).grant) for seq, block in zip(seqs, blocks(space, seqs), strict=True)]
    assert [len(grant.slots) for grant in grants] == [MAX_SLOTS, len(people) + 1 - MAX_SLOTS]
    readers = [reader(profile, space, one, SIMULATED) for one in people[::7]]
    for there in readers:
        assert there.keys[epoch] == space.keys[epoch]
        assert there.inbound.sealed == {}, "whichever entry has its slot, the others open as well"
        assert there.epoch_keys.in_use(MS) == space.keys[epoch]


def test_a_second_epoch_of_the_week_names_what_the_first_carried(large: tuple[Profile, Space, list[Other]]) -> None:
    profile, space, people = large
    opened(space)
    epoch, seqs = opened(space)
    assert carried(space, seqs) == [0, 0]
    assert reader(profile, space, people[40], SIMULATED).keys[epoch] == space.keys[epoch]
    _, seqs = opened(space, MS + WEEK)
    assert sum(carried(space, seqs)) == len(people) + 1


def test_after_a_restart_ciphertexts_travel_again_and_everybody_opens(
    large: tuple[Profile, Space, list[Other]],
) -> None:
    profile, space, people = large
    opened(space)
    space.epoch_keys.shared = Shared()  # what a process that starts anew knows of them
    epoch, seqs = opened(space)
    assert sum(carried(space, seqs)) == len(people) + 1
    assert reader(profile, space, people[3], SIMULATED).keys[epoch] == space.keys[epoch]


def test_the_epoch_names_whoever_got_it_under_x25519_alone() -> None:
    profile, space, people = crowd(2, 2, SIMULATED, None, "old platforms")
    epoch, _ = opened(space)
    info = space.state.epochs[epoch]
    assert {place.device for place in info.classical} == {one.keys.id for one in people}
    assert reader(profile, space, people[1], None).keys[epoch] == space.keys[epoch]
    _, alone, people = crowd(2, 2, None, SIMULATED, "an old platform")
    epoch, _ = opened(alone)
    assert len(alone.state.epochs[epoch].classical) == len(people) + 1


def test_further_slots_with_another_secret_are_not_the_epochs(large: tuple[Profile, Space, list[Other]]) -> None:
    """The creator seals another E to one device, in an entry that names the epoch: it keeps what the epoch opens
    with, and nothing is learned under the epoch's name."""
    profile, space, people = large
    victim = people[-1]
    there = reader(profile, space, victim, SIMULATED)
    epoch, seqs = opened(space)
    false = bytes(range(32))
    assert space.mine is not None
    core, sender = space.mine.core, profile.account.keys.agreement
    body = encode_control(ControlBody(space.graph.tips(core), (Slots(epoch, seqs.start),)))
    slots = [(victim.keys.agreement.public, victim.keys.prekey.public)]
    draft = Draft(
        Kind.CONTROL,
        lambda seq: body,
        lambda seq: make_grant(profile.rng, false, false, core, seq, space.id, sender, slots, kem=SIMULATED),
        false,
    )
    space.append([draft], MS)
    space.finish(MS)
    hand(space, there)
    assert there.keys[epoch] == space.keys[epoch]
    assert false not in {key.secret for key in there.keys.values()}


def test_a_slot_waits_for_the_entry_that_carried_its_ciphertext(large: tuple[Profile, Space, list[Other]]) -> None:
    """Without that entry the grant stays closed, as one without a slot does; nothing else is refused for it."""
    profile, space, people = large
    opened(space)
    epoch, later = opened(space)
    there = reader(profile, space, people[2], SIMULATED)
    feed = there.feed_store.feeds[space.mine.core] if space.mine is not None else None
    assert feed is not None and there.keys[epoch] == space.keys[epoch]
    header = read_block(blocks(space, later)[0], later.start)
    held = {at: blocks(space, range(at, at + 1))[0] for at in decode_grant(header.grant).carriers}
    try_grant = there.epoch_keys.try_grant
    assert try_grant(feed.core, later.start, header, earlier=lambda at: None) is None
    found = try_grant(feed.core, later.start, header, earlier=lambda at: read_block(held[at], at).grant)
    assert found is not None and found.secret == space.keys[epoch].secret


def test_a_grant_handed_over_brings_what_its_slots_name(large: tuple[Profile, Space, list[Other]]) -> None:
    """A device that lacks the feed is told an epoch in messages of their own; one of them has its slot."""
    profile, space, people = large
    opened(space)
    epoch, seqs = opened(space)
    feed, info = space.mine, space.state.epochs[epoch]
    assert feed is not None
    for one in (people[5], people[-1]):
        there = stranger(profile, space, one, SIMULATED)
        told = []
        for seq, block, carriers in space.epoch_keys.told_in(info):
            assert seq in seqs and carriers
            message = encode_handover(space.id, feed.writer, seq, block, carriers, [])
            assert len(message) <= MAX_HANDOVER
            _, _, at, same, named, _ = decode_handover(message)
            header, sender = read_block(same, at), [profile.account.keys.agreement.public]
            found = there.epoch_keys.try_grant(feed.core, at, header, sender, dict(named).get)
            if found is not None:
                told.append((told_epoch(found, feed.core, space.id, same, header), found.z))
                assert there.epoch_keys.try_grant(feed.core, at, header, sender, dict[int, bytes]().get) is None
        assert told == [(epoch, space.keys[epoch].z)]
