"""What a device has to write by itself, with real statements: revocations, closes, a later generation of the phrase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.space.control import Close, Revoke, Set
from crdt.space.epoch import usable
from crdt.space.moves import obligations
from identity.statement import Revocation, revoke, root_certificate
from tests.unit.space.room import PHONES, Feeds, Person, Phone, give, group, phone, share


@pytest.fixture
def feeds() -> Feeds:
    PHONES.clear()
    return Feeds()


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
    told = obligations(c.here, c.core, revoked=known)
    assert told == (Revoke(a2.keys.id, known[a2.keys.id]),)
    entry = c.act(*told)
    give(c, a, a2)
    assert a2.core in a.state.writers and a.state.writers[a2.core].revoked and a.state.open(a2.core)
    assert len(a.state.roster) == 2 and entry.id not in a2.epochs and entry.id in a.epochs
    assert obligations(a2.here, a2.core) == () and usable(a2.state, a2.core) is None
    owed = obligations(a.here, a.core, revoked=known)
    assert len(owed) == 1 and isinstance(owed[0], Close) and owed[0].member is None
    a.act(*owed)
    give(a, c)
    assert c.state.ends == {a2.core: a2.line.end}
    assert obligations(a.here, a.core, revoked=known) == () == obligations(c.here, c.core, revoked=known)


def test_epoch_opened_by_a_revoked_device_does_not_count(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    c.act(*obligations(c.here, c.core, revoked=shown(a, a2)))
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
    assert not c.state.writers[a2.core].revoked and len(c.state.roster) == 3


def test_newer_generation_of_the_phrase_reverses_a_revocation(feeds: Feeds) -> None:
    c, a, a2 = two_phones(feeds)
    c.act(*obligations(c.here, c.core, revoked=shown(a, a2)))
    assert c.state.writers[a2.core].revoked
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
    assert not c.state.writers[a2.core].revoked and len(c.state.roster) == 3


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


def test_device_without_certificate_gets_no_slot_in_the_grant(feeds: Feeds) -> None:
    c, a = group("ca", feeds)
    n = phone(Person("n"), "n1", feeds)
    entry = c.act(replace(c.add_op(n), statements=()))
    give(c, a, n)
    assert n.core in c.state.writers and entry.id in a.epochs and entry.id not in n.epochs
