"""What a device has to write by itself, with real statements: revocations, closes, a later generation of the phrase."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from crdt.log.manifest import core_key
from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
    ControlEntry,
    Create,
    Op,
    Revoke,
    Set,
    SpaceKind,
    Unknown,
    decode_control,
    encode_control,
)
from crdt.space.epoch import usable
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End
from crdt.space.moves import obligations, remove, remove_person
from crdt.space.rendezvous import space_id
from crdt.space.rules import Limits
from identity.digest import digest
from identity.labels import Label
from identity.statement import (
    Certificate,
    Revocation,
    certificate_body,
    counter_sign,
    issue,
    revoke,
    root_certificate,
)
from tests.unit.space.room import PHONES, Feeds, Person, Phone, give, group, phone, share


@pytest.fixture
def feeds() -> Feeds:
    PHONES.clear()
    return Feeds()


def issued(issuer: Phone, new: Phone) -> Certificate:
    """One device certifies another."""
    body = certificate_body(
        issuer.person.root.public,
        new.keys.signing.public,
        new.keys.agreement.public,
        created=1500,
        generation=1,
        signer=(issuer.keys.signing.public, issuer.keys.agreement.public),
    )
    return issue(body, counter_sign(body, new.keys.signing), issuer.keys.signing)


def recovered(new: Phone, generation: int, stay: Iterable[bytes] = ()) -> Certificate:
    """The phrase certifies a device in a new generation."""
    keys = new.keys
    return root_certificate(
        new.person.root, keys.signing, keys.agreement.public, created=3000, generation=generation, stay=stay
    )


def left(lost: Phone, stay: Iterable[bytes]) -> Revocation:
    """A device revokes itself."""
    keys = lost.keys
    signer = (keys.signing.public, keys.agreement.public)
    root = lost.person.root.public
    return revoke(root, keys.id, created=1600, generation=1, signer=signer, key=keys.signing, stay=stay)


def revoked(person: Person, lost: Phone, *, generation: int = 1) -> Revocation:
    return revoke(
        person.root.public,
        lost.keys.id,
        created=2000,
        generation=generation,
        signer=None,
        key=person.root,
        stay=[p.certificate.id for p in PHONES if p.person is person and p is not lost],
    )


def two_phones(feeds: Feeds) -> tuple[Phone, Phone, Phone]:
    """c, and a with two devices."""
    c, a = group("ca", feeds)
    a2 = phone(a.person, "a2", feeds)
    a.act(a.admit_op(a2))
    give(a, c, a2)
    a2.act()
    share(c, a, a2)
    return c, a, a2


def shown(a: Phone, a2: Phone) -> dict[bytes, tuple[bytes, ...]]:
    return {a2.keys.id: (revoked(a.person, a2).encoded, *a.statements, *a2.statements)}


def test_known_revocation_is_published_and_its_owner_closes_the_feed(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    known = shown(a, a2)
    told = obligations(c.here, c.core, lost=known)
    assert told == (Revoke(a2.keys.id, known[a2.keys.id]),)
    entry = c.act(*told)
    give(c, a, a2)
    assert a2.core in a.state.writers and a.state.writers[a2.core].out and a.state.open(a2.core)
    assert len(a.state.roster) == 2 and entry.id not in a2.epochs and entry.id in a.epochs
    assert obligations(a2.here, a2.core) == () and usable(a2.state, a2.core) is None
    owed = obligations(a.here, a.core, lost=known)
    assert len(owed) == 1 and isinstance(owed[0], Close) and owed[0].member is None
    a.act(*owed)
    give(a, c)
    assert c.state.ends == {a2.core: a2.line.end}
    assert obligations(a.here, a.core, lost=known) == () == obligations(c.here, c.core, lost=known)


def test_epoch_opened_by_a_revoked_device_does_not_count(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    c.act(*obligations(c.here, c.core, lost=shown(a, a2)))
    give(c, a2)
    trick = a2.act()  # the fold's roster lacks a2, so this epoch does too
    give(a2, c, a)
    assert trick.id not in c.state.epochs


def test_revocation_without_valid_statements_is_void(feeds: Feeds) -> None:
    c, _a, a2 = two_phones(feeds)
    stranger = Person("s")
    forged = revoke(stranger.root.public, a2.keys.id, created=1, generation=1, signer=None, key=stranger.root, stay=[])
    for statements in ((), a2.statements, (b"nothing",)):
        c.act(Revoke(a2.keys.id, statements))
    c.act(Revoke(a2.keys.id, (forged.encoded,)))  # good for the stranger's identity, not for a's
    assert not c.state.writers[a2.core].out and len(c.state.roster) == 3


def test_newer_generation_of_the_phrase_reverses_a_revocation(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    c.act(*obligations(c.here, c.core, lost=shown(a, a2)))
    assert c.state.writers[a2.core].out
    root = a.person.root
    again = [
        root_certificate(root, p.keys.signing, p.keys.agreement.public, created=3000, generation=2) for p in (a, a2)
    ]
    third = phone(a.person, "a3", feeds)
    out = revoke(
        root.public,
        third.keys.id,
        created=3000,
        generation=2,
        signer=None,
        key=root,
        stay=[certificate.id for certificate in again],
    )
    new = root_certificate(root, third.keys.signing, third.keys.agreement.public, created=3000, generation=2)
    c.act(Revoke(third.keys.id, (out.encoded, new.encoded, *[certificate.encoded for certificate in again])))
    assert not c.state.writers[a2.core].out and len(c.state.roster) == 3


def test_preview_does_not_change_the_graph(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    before, tips = c.state, c.here.tips()
    n = phone(Person("n"), "n1", feeds)
    after = c.here.preview(c.w.public, [c.add_op(n), Set("title", b"other")], seq=c.line.end.length)
    assert len(after.roster) == 3 and after.title == "other"
    assert c.state == before and c.here.tips() == tips and len(c.here) == len(c.here.entries())
    assert c.here.can(c.core, c.add_op(n)) and not c.here.can(a.core, Set("title", b"x"))
    assert not c.here.can(n.core, Set("title", b"x"))
    c.act(c.add_op(n))
    assert c.state.open(n.core)


@pytest.mark.parametrize("kind", ["none", "another device's", "without the issuer", "of an older generation"])
def test_admission_that_does_not_show_its_device_as_standing_is_void(feeds: Feeds, kind: str) -> None:
    c, a = group("ca", feeds)
    n = phone(Person("n"), "n1", feeds)
    root, op = n.person.root, c.add_op(n)
    second = phone(n.person, "n2", feeds)
    other = {
        "none": (),
        "another device's": second.statements,
        "without the issuer": (issued(n, second).encoded,),
        "of an older generation": (*n.statements, recovered(second, 2).encoded),
    }[kind]
    writer = second if kind == "without the issuer" else n
    given = c.add_op(writer) if writer is second else op
    c.act(replace(given, identity=root.public, statements=other))
    give(c, a)
    assert writer.core not in c.state.writers and a.state == c.state


def test_admission_that_its_past_shows_as_out_is_void(feeds: Feeds) -> None:
    """R's newer word stands in the space already; what the admission carries is complete, and older."""
    c, a = group("ca", feeds)
    a2, a9 = phone(a.person, "a2", feeds), phone(a.person, "a9", feeds)
    c.act(Revoke(a.keys.id, (*a.statements, recovered(a9, 2).encoded)))
    give(c, a)
    assert c.state.writers[a.core].out
    a.act(a.admit_op(a2))
    give(a, c)
    assert a2.core not in c.state.writers


def test_phrase_that_lists_nothing_puts_the_lost_phone_out(feeds: Feeds) -> None:
    """No statement revokes it: it does not stand at the newest generation."""
    c, a = group("ca", feeds)
    a9 = phone(a.person, "a9", feeds)
    said = (*a.statements, recovered(a9, 2).encoded)
    told = obligations(c.here, c.core, lost={a.keys.id: said})
    assert told == (Revoke(a.keys.id, said),)
    entry = c.act(*told)
    give(c, a)
    assert [p.device for p in c.state.roster] == [c.keys.id] and entry.id not in a.epochs
    assert obligations(c.here, c.core, lost={a.keys.id: said}) == ()
    kept = recovered(phone(a.person, "a8", feeds), 3, stay=[a.certificate.id])
    c.act(Revoke(a9.keys.id, (recovered(a9, 2).encoded, kept.encoded, *a.statements)))
    assert len(c.state.roster) == 2, "a later word of the root key keeps it after all"


def test_recovered_friend_comes_back_into_the_direct_chat(feeds: Feeds) -> None:
    """The only device of the other side is out by R's newest word: the friend may let the new one in."""
    c, a = phone(Person("c"), "c1", feeds), phone(Person("a"), "a1", feeds)
    c.found(SpaceKind.DIRECT, "")
    c.act(c.add_op(a))
    give(c, a)
    a.act()
    share(c, a)
    a9 = phone(a.person, "a9", feeds)
    a9.certificate = recovered(a9, 2)
    assert not c.here.can(c.core, c.add_op(a9)), "the lost phone stands as far as the space knows"
    c.act(Revoke(a.keys.id, (*a.statements, *a9.statements)), c.add_op(a9))
    give(c, a9)
    a9.act()
    give(a9, c)
    assert {p.device for p in c.state.roster} == {c.keys.id, a9.keys.id} and c.state.open(a9.core)


def test_owner_that_closes_a_replaced_feed_leaves_its_restored_successor_in(feeds: Feeds) -> None:
    """The desktop heard of the revocation before it heard of the succession, and closed the old feed."""
    c, a, a2 = two_phones(feeds)
    backup = a2.backup()
    new = phone(a2.person, "a2 restored", feeds)
    statement = issued(a2, new)
    gone = left(a2, [statement.id])
    said = (gone.encoded, *a2.statements, statement.encoded)
    new.certificate = statement
    a.act(*obligations(a.here, a.core, lost={a2.keys.id: said}))
    assert a2.core in a.state.ends
    new = a2.restore("a2 restored", backup, new, said)
    share(c, a, new)
    assert c.state.open(new.core) and not c.state.open(a2.core)
    assert a.state == c.state == new.state


def test_thief_that_restores_a_revoked_device_stays_out(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    backup = a2.backup()
    said = (revoked(a.person, a2).encoded, *a.statements, *a2.statements)
    a.act(*obligations(a.here, a.core, lost={a2.keys.id: said}))
    thief = phone(a2.person, "thief", feeds)
    thief.certificate = issued(a2, thief)
    thief = a2.restore("thief", backup, thief, (*a2.statements, *thief.statements))
    share(c, a, thief)
    assert thief.core not in c.state.writers and thief.core not in a.state.writers


def test_removal_of_a_member_with_257_feeds_fits_two_closes() -> None:
    """One close names 256.  What the other names ends where that says, and not at 0."""

    class Always:
        def proved(self, core: bytes, end: End) -> bool:
            return True

        def agree(self, core: bytes, a: End, b: End) -> bool:
            return True

    class Everybody:
        def stands(self, device: bytes) -> bool:
            return True

        def out(self, device: bytes) -> bool:
            return False

    def w(number: int) -> bytes:
        return number.to_bytes(2, "big") * 16

    space, lengths = space_id(core_key(w(0))), dict[bytes, int]()
    graph = ControlGraph(
        space, Always(), limits=Limits(devices=999), verify=lambda *_: True, judge=lambda *_: Everybody()
    )

    def write(writer: bytes, *ops: Op) -> None:
        seq = lengths.get(writer, 0)
        lengths[writer] = seq + 1
        id_ = digest(Label.SPACE, writer, seq.to_bytes(2, "big"))
        body = decode_control(encode_control(ControlBody(graph.tips(), ops)))
        graph.add(ControlEntry(id_, writer, seq, id_, seq, body.parents, body.ops))

    write(w(0), Create(SpaceKind.GROUP, "full", bytes(32), w(0), (), bytes(32)))
    write(w(0), Add(b"m" * 32, w(1), w(1), (), bytes(32), bytes(64)))
    for number in range(2, 258):
        write(w(1), Admit(w(number), w(number), (), bytes(32), bytes(64)))
    frontiers = {core_key(w(number)): End(number, w(number)) for number in range(2, 258)}
    (member,) = (m for m in graph.state().members.values() if m.identity == b"m" * 32)
    closes = remove(graph, member.id, frontiers)
    assert [len(close.feeds) for close in closes] == [256, 1]
    write(w(0), *closes)
    state = graph.state()
    assert len(state.ends) == 257 and not state.active(member.id)
    assert all(state.ends[core] == end for core, end in frontiers.items())


def test_person_removed_while_apart_was_let_in_is_removed_again(feeds: Feeds) -> None:
    """c lets n in and removes it; a, apart, lets in n's second device: removal wins, whoever hears of both."""
    c, a = group("ca", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    give(c, a)
    n = Person("n")
    n1, n2 = phone(n, "n1", feeds), phone(n, "n2", feeds)
    first = c.act(c.add_op(n1))
    c.act(*remove_person(c.here, c.core, n.root.public, {}))
    second = a.act(a.add_op(n2))
    share(c, a)
    assert set(c.state.people()[n.root.public]) == {c.state.members[second.id]}
    owed = obligations(a.here, a.core)
    assert [close.member for close in owed if isinstance(close, Close)] == [second.id]
    a.act(*owed)
    share(c, a)
    assert n.root.public not in c.state.people() and obligations(c.here, c.core) == () == obligations(a.here, a.core)
    n3 = phone(n, "n3", feeds)
    c.act(c.add_op(n3))
    give(c, a)
    assert obligations(a.here, a.core) == () and n.root.public in a.state.people(), "who knew of the removal may add"
    assert first.id in c.state.members


def test_person_with_two_members_is_listed_once_and_removed_whole(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    give(c, a)
    n = Person("n")
    n1, n2 = phone(n, "n1", feeds), phone(n, "n2", feeds)
    c.act(c.add_op(n1))
    a.act(a.add_op(n2))
    share(c, a)
    assert len(c.state.people()[n.root.public]) == 2 and len(c.state.people()) == 3
    c.act(*remove_person(c.here, c.core, n.root.public, {}))
    give(c, a)
    assert n.root.public not in a.state.people() and len(a.state.roster) == 2


@pytest.mark.parametrize(("rank", "code", "stops"), [(0, 11, True), (1, 13, True), (2, 11, False), (0, 12, False)])
def test_odd_operation_of_a_later_version_stops_only_by_creator_and_admins(
    feeds: Feeds, rank: int, code: int, stops: bool
) -> None:
    c, a, b = group("cab", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    share(c, a, b)
    before = c.state
    (c, a, b)[rank].do(Unknown(code, b"tomorrow"))
    share(c, a, b)
    assert c.state.stopped is stops and (c.state.roster, c.state.ends) == (before.roster, before.ends)
    if stops:
        assert obligations(b.here, b.core, opened=[a.end()]) == ()


def test_odd_operation_beyond_its_authors_end_stops_nobody(feeds: Feeds) -> None:
    c, a, b = group("cab", feeds)
    c.do(Admin(c.state.writers[a.core].member))
    share(c, a, b)
    c.act(*remove(c.here, c.state.writers[a.core].member, {a.core: a.line.end}))
    a.do(Unknown(11, b""))
    share(c, a, b)
    assert not c.state.stopped and not b.state.stopped


def test_device_that_the_space_knows_to_stand_is_not_revoked_again_and_again(feeds: Feeds) -> None:
    """Somebody who missed the newest word of the root key takes the device for out; the space knows better."""
    c, a = group("ca", feeds)
    a9 = phone(a.person, "a9", feeds)
    older = (*a.statements, recovered(a9, 2).encoded)
    kept = recovered(phone(a.person, "a8", feeds), 3, stay=[a.certificate.id])
    c.act(Revoke(a9.keys.id, (recovered(a9, 2).encoded, kept.encoded, *a.statements)))
    assert obligations(c.here, c.core, lost={a.keys.id: older}) == ()
