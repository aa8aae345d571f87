"""One space in one store: what is written is read back, from memory, from the open batch and from the disk alike."""

from __future__ import annotations

import pytest

from crdt.docs.chat import Edit, Message, Reaction
from crdt.docs.ids import message_id
from crdt.docs.marks import reactions
from crdt.docs.own import OwnProfile
from crdt.log.merkle import Tree, leaf_of, roots_at, tail_indexes, verify_range
from identity.errors import KithkinError
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from sync.account.account import new_account
from sync.engine.profile import Profile, found_profile
from sync.space import timeline
from sync.space.space import Space
from sync.store.memory import MemoryStore
from sync.store.port import Batch
from tests.support.kem import SIMULATED
from tests.support.streams import stream

NOW = 1_790_000_000
MS = NOW * 1000


def founded(seed: str, store: MemoryStore | None = None) -> tuple[MemoryStore, Profile]:
    rng = stream(seed)
    keys = phrase_keys(new_phrase(rng), SIMULATED)
    account = new_account(keys.root.public, "phone", rng, NOW, kem=SIMULATED)
    signing, agreement = account.keys.signing, account.keys.agreement.public
    certificate = root_certificate(keys.root, signing, agreement, created=NOW, generation=NOW)
    store = store or MemoryStore()
    found_profile(store, account, [certificate], keys.recovery.public, "Ada", MS, rng, SIMULATED)
    return store, Profile(store, rng, SIMULATED)


def notes(profile: Profile) -> Space:
    return next(space for space in profile.spaces.values() if not space.personal)


def texts(profile: Profile) -> list[str]:
    return [row.text for row in timeline.page(profile.store, notes(profile).id, 10_000)]


def test_new_profile_has_a_name_and_a_self_chat() -> None:
    _, profile = founded("one")
    assert profile.view.profile.name == "Ada"
    assert [chat.kind for chat in profile.view.chats.values()] == ["self"]
    assert notes(profile).state.open(next(iter(notes(profile).feed_store.feeds)))


def test_committed_changes_survive_reopening() -> None:
    store, profile = founded("two")
    profile.write(notes(profile), [[Message(bytes([n]) * 16, f"note {n}")] for n in range(30)], MS)
    profile.commit(MS)
    again = Profile(store, stream("again"), SIMULATED)
    assert texts(again) == texts(profile) == [f"note {n}" for n in range(30)]
    first, second = notes(profile).mine, notes(again).mine
    assert first is not None and second is not None
    assert (first.tree, first.head, first.opened) == (second.tree, second.head, second.opened)


def test_uncommitted_changes_are_gone_after_reopening() -> None:
    store, profile = founded("three")
    profile.write(notes(profile), [[Message(b"a" * 16, "lost")]], MS)
    assert texts(Profile(store, stream("again"), SIMULATED)) == []


def test_edits_and_reactions_before_their_message_apply_to_it() -> None:
    _, profile = founded("four")
    chat = notes(profile)
    member = next(iter(chat.state.members.values()))
    wanted = message_id(member.core, b"m" * 16)
    profile.write(chat, [[Edit(wanted, "second thought")], [Reaction(wanted, "+", True)]], MS)
    profile.commit(MS)
    assert texts(profile) == []
    profile.write(chat, [[Message(b"m" * 16, "first thought")]], MS + 1)
    profile.commit(MS)
    (row,) = timeline.page(profile.store, chat.id, 10)
    assert (row.text, row.edited, row.marked) == ("second thought", True, True)
    marks = timeline.marks_on(profile.store, chat.id, wanted)
    assert reactions(marks, chat.policy().member) == (("+", (member.id,)),)


def test_full_epoch_is_followed_by_a_new_one() -> None:
    _, profile = founded("five")
    chat = notes(profile)
    groups = [[Message(n.to_bytes(16, "big"), f"{n}")] for n in range(2300)]
    profile.write(chat, groups, MS)
    profile.commit(MS)
    assert len(chat.state.epochs) == 3
    assert sum(not epoch.superseded for epoch in chat.state.epochs.values()) == 1
    assert len(texts(profile)) == 2300


def test_feed_store_proves_any_range_from_memory_and_from_disk() -> None:
    """Nodes over fewer than eight blocks are hashed again; the proofs are those of the whole tree."""
    _, profile = founded("six")
    chat = notes(profile)
    profile.write(chat, [[Message(bytes([n]) * 16, f"note {n}")] for n in range(61)], MS)
    for _ in range(2):  # before the commit and after it
        mine = chat.mine
        assert mine is not None and mine.head is not None
        blocks = [b for b in chat.feed_store.blocks(mine.writer, 0, mine.length, 1 << 30) if isinstance(b, bytes)]
        assert len(blocks) == mine.length
        for start in range(0, mine.length, 7):
            for end in range(start + 1, mine.length + 1, 9):
                known = Tree(start, tuple(chat.feed_store.nodes(mine.writer, roots_at(start))))
                leaves = [leaf_of(block) for block in blocks[start:end]]
                tail = chat.feed_store.nodes(mine.writer, tail_indexes(end, mine.length))
                assert verify_range(known, leaves, tail, mine.length, mine.head.root) is not None
        profile.commit(MS)


class Full(MemoryStore):
    """A disk that is full for a while."""

    full = False

    def write(self, batch: Batch, *, durable: bool) -> None:
        if self.full:
            raise KithkinError("disk_full", "The disk is full.")
        super().write(batch, durable=durable)


def test_refused_commit_leaves_memory_equal_to_the_disk() -> None:
    store = Full()
    _, profile = founded("seven", store)
    profile.write(notes(profile), [[Message(b"a" * 16, "kept")]], MS)
    profile.commit(MS)
    store.full = True
    profile.write(notes(profile), [[Message(b"b" * 16, "refused")]], MS)
    with pytest.raises(KithkinError, match="full"):
        profile.commit(MS)
    store.full = False
    assert texts(profile) == ["kept"]
    profile.write(notes(profile), [[Message(b"c" * 16, "later")]], MS)
    profile.commit(MS)
    assert texts(profile) == texts(Profile(store, stream("again"), SIMULATED)) == ["kept", "later"]


def test_control_entry_that_a_late_key_opens_during_a_commit_is_folded_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fold makes a grant readable whose sender was unknown; its key opens another control entry."""
    _, profile = founded("late")
    space = notes(profile)
    changes = space._changes

    def unlock(now_ms: int) -> bool:
        changes.keys = False
        changes.control_came()
        return True

    changes.control_came()
    with monkeypatch.context() as late:
        late.setattr(space.epoch_keys, "open_grants", changes.keys_came)
        late.setattr(space.inbound, "unlock", unlock)
        profile.commit(MS)
    waits = [(profile.uncommitted, changes.control)]
    profile.commit(MS)
    waits.append((profile.uncommitted, changes.control))
    assert waits == [(True, True), (False, False)]


def test_own_documents_are_kept_by_a_commit_in_which_a_feed_of_mine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device of mine is taken out in the tick in which I change my name."""
    store, profile = founded("ends")
    profile.note(MS, OwnProfile(name="New name"))
    profile.personal._changes.control_came()
    monkeypatch.setattr(profile.personal.members, "ends_moved", lambda: True)
    profile.commit(MS)
    assert profile.view.profile.name == Profile(store, stream("again"), SIMULATED).view.profile.name == "New name"
