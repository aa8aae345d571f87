"""Arrival of control entries: waiting, proofs, false claims about the own past, forks, and what the moves write."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from crdt.log.manifest import core_key
from crdt.log.merkle import leaf_hash
from crdt.space.consent import verify_consent
from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    Set,
    SpaceKind,
    decode_control,
    encode_control,
)
from crdt.space.epoch import epoch_op, usable
from crdt.space.graph import ControlGraph, EntryStatus
from crdt.space.lineage import End
from crdt.space.moves import close_own, leave, obligations, remove
from crdt.space.rendezvous import space_id
from crdt.space.rules import Limits
from identity.digest import digest
from identity.labels import Label
from tests.unit.space.room import PHONES, Feeds, Line, Person, Phone, give, group, phone, share


@pytest.fixture
def feeds() -> Feeds:
    PHONES.clear()
    return Feeds()


def fork(writer: Phone, name: str) -> Phone:
    """The same device twice: from here on both write feed W."""
    other = Phone.__new__(Phone)
    other.__dict__.update(writer.__dict__)
    other.name = name
    other.line = writer.line.copy()
    other.blocks, other.epochs, other.sent = dict(writer.blocks), dict(writer.epochs), []
    other.feeds.lines[writer.core].append(other.line)
    other.enter(writer.here.space)
    for author, entry, block in writer.blocks.values():
        other.take(author, entry, block)
    return other


def test_members_of_a_new_group_agree_on_state_and_epoch(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    assert c.state.title == "walks" and c.state.kind == SpaceKind.GROUP
    for p in (c, a, b):
        assert p.state == c.state
        assert len(p.state.roster) == 3
        assert p.state.rank(p.core) == (0 if p is c else 2)
        epoch = usable(p.state, p.core, known=p.epochs)
        assert epoch == usable(c.state, c.core)


def test_removed_member_gets_neither_the_new_key_nor_the_new_z(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    member = a.state.writers[b.core].member
    z = {p.epochs[usable(p.state, p.core, known=p.epochs) or b""].z for p in (c, a, b)}
    assert len(z) == 1
    entry = c.act(*remove(c.here, member, {b.core: b.line.end}))
    give(c, a, b)
    assert entry.id in a.epochs and entry.id not in b.epochs
    assert a.epochs[entry.id].z not in z
    assert not a.state.open(b.core) and usable(b.state, b.core) is None
    assert a.state.ends[b.core] == b.line.end


def test_z_is_kept_until_a_member_leaves(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    first = c.epochs[usable(c.state, c.core) or b""].z
    n = phone(Person("n"), "n1", feeds)
    c.act(c.add_op(n))
    give(c, a, n)
    n.act()
    share(c, a, n)
    assert {p.epochs[usable(p.state, p.core) or b""].z for p in (c, a, n)} == {first}
    a.do(*leave(a.here, a.core, {a.core: a.line.end}))
    share(c, a, n)
    assert usable(c.state, c.core) is None and usable(a.state, a.core) is None
    entry = n.act()
    give(n, c, a)
    assert c.epochs[entry.id].z != first and entry.id not in a.epochs


def test_concurrent_removals_lead_to_a_z_that_neither_removed_member_knows(feeds: Feeds) -> None:
    c, a, m, n = group("camn", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    share(c, a, m, n)
    one = c.act(*remove(c.here, c.state.writers[m.core].member, {}))
    two = a.act(*remove(a.here, a.state.writers[n.core].member, {}))
    give(c, a)
    give(a, c)
    share(c, a, m, n)
    assert n.epochs[one.id].z == c.epochs[one.id].z and m.epochs[two.id].z == a.epochs[two.id].z
    assert usable(c.state, c.core) is None
    merged = c.act()
    give(c, a, m, n)
    assert c.epochs[merged.id].z not in (c.epochs[one.id].z, a.epochs[two.id].z)
    assert merged.id not in m.epochs and merged.id not in n.epochs


def test_entries_wait_for_parents_in_any_order(feeds: Feeds) -> None:
    c, _a, _b = group("cab", feeds)
    entries = [entry for _, entry, _ in c.blocks.values()]
    rng = random.Random(3)
    for _ in range(20):
        rng.shuffle(entries)
        graph = ControlGraph(c.here.space, feeds.lineage())
        completed = [e.id for entry in entries for e in graph.add(entry) + graph.add(entry)]
        assert sorted(completed) == sorted(e.id for e in entries)
        assert graph.state() == c.state and graph.tips() == c.here.tips() and not graph.missing()


def test_missing_parents_are_listed_until_they_arrive(feeds: Feeds) -> None:
    c, _a = group("ca", feeds)
    entries = c.here.entries()
    graph = ControlGraph(c.here.space, feeds.lineage())
    assert graph.add(entries[-1]) == []
    assert graph.status(entries[-1].id) is EntryStatus.WAITING
    assert set(graph.missing()) == set(entries[-1].parents)
    for entry in entries[:-1]:
        graph.add(entry)
    assert graph.status(entries[-1].id) is EntryStatus.COMPLETE


def test_entry_that_names_a_parent_at_a_wrong_seq_is_rejected(feeds: Feeds) -> None:
    c, _a = group("ca", feeds)
    last = c.here.entries()[-1]
    wrong = replace(last, id=b"\7" * 32, parents=(last.parent._replace(seq=99),))
    assert c.here.add(wrong) == [] and c.here.status(wrong.id) is EntryStatus.UNKNOWN


def test_a_close_waits_for_the_proof_of_its_tree_hash(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    ahead = Line()
    ahead.trees = list(b.line.trees)
    far = ahead.append(b"a block that only the creator has")
    entry = c.do(Close(c.state.writers[b.core].member, (FeedEnd(b.w.public, *far),)))
    assert c.here.status(entry.id) is EntryStatus.WAITING
    give(c, a)
    assert a.here.status(entry.id) is EntryStatus.WAITING and a.state.open(b.core)
    assert [(u.core, u.end) for u in a.here.unproved()] == [(b.core, far)]
    feeds.lines[b.core] = [ahead]
    assert [e.id for e in a.here.recheck()] == [entry.id]
    assert a.state.ends[b.core] == far


def test_entry_that_omits_an_own_earlier_entry_does_not_count(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    share(c, a, b)
    before = a.here.tips()
    a.do(Set("colour", b"red"))
    hidden = a.here.entries()[-1]
    old = replace(hidden, id=b"\1" * 32, seq=hidden.seq + 1, parents=before, ops=(Set("colour", b"blue"),))
    old = replace(old, root=a.line.append(b"some block").root)
    graph = ControlGraph(c.here.space, feeds.lineage())
    for entry in [*c.here.entries(), old]:
        graph.add(entry)
    assert graph.state().settings == {"colour": b"blue"}  # nobody can know yet
    graph.add(hidden)
    assert graph.state().settings == {"colour": b"red"}
    other = ControlGraph(c.here.space, feeds.lineage())
    for entry in [*a.here.entries(), old]:
        other.add(entry)
    assert other.state() == graph.state()


def test_forks_keep_both_branches_until_a_close(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    twin = fork(b, "b-twin")
    one = b.act()
    two = twin.act()
    for p in (c, a):
        give(b, p)
        give(twin, p)
    assert {one.id, two.id} <= {e.id for e in c.here.entries()} and c.here.forks() == (b.core,)
    assert {one.id, two.id} <= set(c.state.epochs)
    member = c.state.writers[b.core].member
    c.act(*remove(c.here, member, {b.core: b.line.end}))
    give(c, a)
    assert not a.state.open(b.core) and a.state == c.state
    assert (one.id in a.state.epochs) != (two.id in a.state.epochs)


def test_restored_device_succeeds_its_old_feed(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    new = a.restore("a2", a.backup())
    share(c, a, new)
    assert c.state.open(new.core) and not c.state.open(a.core)
    assert c.state.writers[new.core].member == c.state.writers[a.core].member
    assert c.state.successors == {new.core: a.core}


def test_successor_closes_the_old_feed_again_at_a_greater_length(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    backup = a.backup()
    late = a.act()
    give(a, c)
    new = a.restore("a2", backup)
    assert obligations(new.here, new.core, frontiers={a.core: a.line.end}) != ()
    share(c, new)
    assert late.id not in c.state.epochs and c.state.ends[a.core] == backup[0]
    close = obligations(new.here, new.core, frontiers={a.core: a.line.end})
    new.act(*close)
    share(c, new)
    assert c.state.ends[a.core] == a.line.end and late.id in c.state.epochs
    assert obligations(new.here, new.core, frontiers={a.core: a.line.end}) == ()


def test_witness_shows_a_message_that_a_close_hid(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    short = b.line.end
    seen = FeedEnd(b.w.public, *b.line.append(b"a message that a opened"))
    c.act(Close(c.state.writers[b.core].member, (FeedEnd(b.w.public, *short),)))
    give(c, a)
    assert not a.state.shows(b.core, seen.length - 1)
    ops = obligations(a.here, a.core, opened=[seen])
    assert len(ops) == 1
    a.act(*ops)
    give(a, c)
    assert c.state.shows(b.core, seen.length - 1, seen.root) and not c.state.within(b.core, seen.length - 1)
    assert obligations(a.here, a.core, opened=[seen]) == ()


def test_member_admits_at_most_six_devices(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    more = [phone(a.person, f"a{k}", feeds) for k in range(2, 9)]
    for other in more:
        a.act(a.admit_op(other))
    give(a, c)
    mine = [w for w in c.state.writers.values() if w.member == c.state.writers[a.core].member]
    assert len(mine) == 6 and len(c.state.roster) == 7
    assert not c.here.can(a.core, a.admit_op(more[-1]))
    a.act(*close_own(a.here, [more[0].core], {}))
    assert a.here.can(a.core, a.admit_op(more[-1]))


def test_concurrent_admissions_share_six_places_in_the_roster(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    two = phone(a.person, "a2", feeds)
    a.act(a.admit_op(two))
    give(a, two, c)
    two.act()
    share(a, two, c)
    for k in range(4):
        a.act(a.admit_op(phone(a.person, f"x{k}", feeds)))
        two.act(two.admit_op(phone(a.person, f"y{k}", feeds)))
    share(a, two, c)
    member = c.state.writers[a.core].member
    assert sum(w.member == member and w.open for w in c.state.writers.values()) == 10
    assert len(c.state.roster) == 7 and a.state.roster == c.state.roster


def test_full_group_admits_nobody_more(feeds: Feeds) -> None:
    c, _a = group("ca", feeds)
    graph = ControlGraph(c.here.space, feeds.lineage(), limits=Limits(members=2))
    for entry in c.here.entries():
        graph.add(entry)
    late = phone(Person("l"), "l1", feeds)
    assert not graph.can(c.core, c.add_op(late)) and c.here.can(c.core, c.add_op(late))


def test_latest_of_concurrent_settings_wins_and_a_later_entry_replaces_it(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    share(c, a, b)
    a.clock = c.clock + 50_000
    c.do(Set("title", b"slow walks"))
    a.do(Set("title", b"fast walks"))
    share(c, a, b)
    assert b.state.title == "fast walks"
    c.do(Set("title", b"walks"))  # has seen it, and an earlier clock
    share(c, a, b)
    assert b.state.title == "walks"


@pytest.mark.parametrize("kind", [SpaceKind.PERSONAL, SpaceKind.SELF])
def test_space_of_one_person_admits_only_devices_of_that_person(feeds: Feeds, kind: SpaceKind) -> None:
    me = Person("me")
    first, second = phone(me, "m1", feeds), phone(me, "m2", feeds)
    first.found(kind)
    first.act(first.admit_op(second))
    give(first, second)
    second.act()
    share(first, second)
    assert len(first.state.roster) == 2 and first.state == second.state
    assert not first.here.can(first.core, first.add_op(phone(Person("you"), "y1", feeds)))
    assert not first.here.can(first.core, first.add_op(phone(me, "m3", feeds)))
    assert first.here.can(second.core, Set("title", b"mine"))


def test_create_in_a_foreign_feed_changes_nothing(feeds: Feeds) -> None:
    c, _a = group("ca", feeds)
    thief = phone(Person("t"), "t1", feeds)
    other = Phone(thief.person, "t2", feeds)
    other.found()
    create = other.here.entries()[0]
    before = c.state
    c.here.add(create)
    after = c.state
    assert after.members == before.members and after.creator == before.creator and after.roster == before.roster


def test_consent_holds_for_one_feed_operation_and_device_only(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    n = phone(Person("n"), "n1", feeds)
    op = c.add_op(n)
    assert verify_consent(c.here.space, c.core, op)
    assert not verify_consent(c.here.space, a.core, op)
    assert not verify_consent(b"\1" * 32, c.core, op)
    assert not verify_consent(c.here.space, c.core, replace(op, identity=b"\2" * 32))
    assert not verify_consent(c.here.space, c.core, replace(op, device=b"\2" * 32))
    assert not verify_consent(c.here.space, c.core, replace(op, prekey=b"\2" * 32))
    as_device = Admit(op.writer, op.device, op.statements, op.prekey, op.consent)
    assert not verify_consent(c.here.space, c.core, as_device)
    c.act(replace(op, consent=bytes(64)))
    assert n.core not in c.state.writers


def test_new_entry_names_all_tips_as_parents(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    for p in (c, a, b):
        p.act()
    for source, target in itertools.permutations((c, a, b), 2):
        give(source, target)
    assert len(c.here.tips()) == 3
    entry = c.act()
    assert c.here.tips() == (entry.parent,)
    assert isinstance(entry.ops[-1], Epoch) and len(entry.ops[-1].superseded) == 3


def test_waiting_entries_are_bounded_to_a_thousand() -> None:
    graph = ControlGraph(bytes(32), Feeds().lineage())
    parent = ControlEntry(b"p" * 32, b"w" * 32, 0, bytes(32), 0, (), (Set("k", b""),)).parent
    for k in range(1100):
        graph.add(ControlEntry(k.to_bytes(32, "big"), b"w" * 32, k, bytes(32), 0, (parent,), (Set("k", b""),)))
    assert sum(graph.status(k.to_bytes(32, "big")) is EntryStatus.WAITING for k in range(1100)) == 1000


def test_lineage_decides_whether_two_ends_lie_on_one_branch() -> None:
    feeds, line = Feeds(), Line()
    ends = [line.append(bytes((k,))) for k in range(6)]
    other = line.copy()
    del other.trees[4:]
    forked = other.append(b"else")
    feeds.lines[b"c"] = [line]
    lineage = feeds.lineage()
    assert lineage.agree(b"c", ends[1], ends[4]) is True
    assert lineage.agree(b"c", End(2, b"\1" * 32), ends[4]) is False
    assert lineage.agree(b"c", ends[1], forked) is None and not lineage.proved(b"c", forked)
    feeds.lines[b"c"].append(other)
    assert lineage.agree(b"c", ends[1], forked) is True
    assert lineage.agree(b"c", ends[3], forked) is False
    assert lineage.agree(b"c", forked, ends[5]) is False
    assert lineage.agree(b"c", End(0, bytes(32)), ends[5]) is True


def test_add_under_another_identity_does_not_count(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    n = phone(Person("n"), "n1", feeds)
    op = Add(a.person.root.public, n.w.public, n.keys.id, n.statements, n.prekey, n.consent(c, n.person.root.public))
    c.act(op)
    assert n.core not in c.state.writers


def test_branches_beyond_the_bound_wait_until_another_entry_names_them(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    base, tips, seq = b.line.copy(), b.here.tips(), b.line.end.length
    branches = []
    for k in range(70):
        line = base.copy()
        block = bytes((k,))
        root = line.append(block).root
        feeds.lines[b.core].append(line)
        branches.append(ControlEntry(leaf_hash(block), b.w.public, seq, root, k, tips, (Set("colour", block),)))
    taken = [e for entry in branches for e in c.here.add(entry)]
    assert len(taken) == 65  # the first one lies beside nothing
    last = branches[-1]
    assert c.here.status(last.id) is EntryStatus.WAITING
    seq = a.line.end.length
    root = a.line.append(b"names it").root
    naming = ControlEntry(b"n" * 32, a.w.public, seq, root, 0, (last.parent,), (Set("x", b""),))
    assert {e.id for e in c.here.add(naming)} == {last.id, naming.id}


def test_control_entry_of_the_largest_group_encodes_and_decodes() -> None:
    """50 members with 6 devices each: nobody more comes in, and the largest roster goes through an epoch."""

    class Everybody:
        def stands(self, device: bytes) -> bool:
            return True

        def out(self, device: bytes) -> bool:
            return False

    class Always:
        def proved(self, core: bytes, end: End) -> bool:
            return True

        def agree(self, core: bytes, a: End, b: End) -> bool:
            return True

    def w(member: int, device: int) -> bytes:
        return bytes((member, device)) * 16

    creator = w(0, 0)
    graph = ControlGraph(space_id(core_key(creator)), Always(), verify=lambda *_: True, judge=lambda *_: Everybody())
    lengths: dict[bytes, int] = {}

    def write(writer: bytes, op: Op) -> None:
        seq = lengths.get(writer, 0)
        lengths[writer] = seq + 1
        id_ = digest(Label.SPACE, writer, bytes((seq,)))
        graph.add(ControlEntry(id_, writer, seq, id_, seq, graph.tips(), (op,)))

    def admission(member: int, device: int) -> Admit:
        return Admit(w(member, device), w(member, device), (), bytes(32), bytes(64))

    write(creator, Create(SpaceKind.GROUP, "full", bytes(32), creator, (), bytes(32)))
    for member in range(51):
        if member:
            write(creator, Add(bytes(32), w(member, 0), w(member, 0), (), bytes(32), bytes(64)))
        for device in range(1, 8):
            write(w(member, 0), admission(member, device))
    state = graph.state()
    assert len(state.members) == 50 and len(state.writers) == len(state.roster) == 300
    opened = epoch_op(graph.preview(creator, (), seq=lengths[creator]), bytes(32))
    body = ControlBody(graph.tips(), (opened,))
    assert decode_control(encode_control(body)) == body
