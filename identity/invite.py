"""Invites on `kithkin/invite/1`: what both sides say, and what they tell their shells (`docs/protocol.md`, "Invite").

The side that made the text is `inviter.py`, the side that was given it `invitee.py`.

    invitee                                        inviter (any device of the identity that made the text)
    Noise 1: statements, device id, P, profile ->
                                               <-  Noise 2
                                               <-  OFFER: statements, proof of D, P, profile, direct space
    JOIN: proof of D, its writer and consent   ->
                                               <-  DONE

or REFUSE with a code, in place of OFFER, JOIN or DONE.  Noise 1 alone proves nothing to the inviter if I is stolen
(whoever has its secret can speak as anybody), so nothing counts before JOIN: the use of the invite least of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from identity.codec import Reader, Writer
from identity.device import DeviceKeys, read_suite
from identity.device_set import active_devices, sendable
from identity.inner import Failed, Send, Stray
from identity.kem import check_prekey, read_prekey
from identity.keys import check_point
from identity.proof import same
from identity.statement import MAX_STATEMENT_SET, PREFIX, Statement, decode_statements, encode_statements

PROTOCOL = "kithkin/invite/1"
MAX_PROFILE = 4 * 1024
MAX_EXTRA = 8 * 1024
MAX_JOIN = 4 * 1024
UNPROVED = Failed("not_allowed", "The other side does not prove to be a device of that identity.")


class InviteMessage(IntEnum):
    """Types of the messages under the session's keys, as on the wire."""

    OFFER = 0
    JOIN = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class Person:
    """One side as the other sees it: an identity, the device that speaks, its newest prekey (P, or P and K), its
    profile.

    `profile` is opaque here, and a claim.
    """

    identity: bytes
    statements: tuple[Statement, ...]
    device: bytes
    prekey: bytes
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class DirectSpace:
    """The space that the invitee is asked into: its id, W of a feed of the inviter there, its rendezvous secret Z."""

    space: bytes
    writer: bytes
    z: bytes = field(repr=False)
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class InviteAsked:
    """To the inviter: somebody holds the invite.  Find the direct space with that identity, or make one, and call
    `Inviter.offer`; or `Inviter.refuse`.  Write nothing into it yet, and do not mark the invite as used."""

    person: Person


@dataclass(frozen=True, slots=True)
class SpaceOffered:
    """To the invitee: who answered, proved.  Make a writer for the space, or use the one there, and call
    `Invitee.join`."""

    person: Person
    space: DirectSpace


@dataclass(frozen=True, slots=True)
class InviteeJoined:
    """To the inviter: the invitee, proved.  Store the use of the invite and `add` its writer, then call
    `Inviter.finish`; or `Inviter.refuse`, if another identity used it meanwhile."""

    person: Person
    answer: bytes


@dataclass(frozen=True, slots=True)
class InviteDone:
    """To both: it is done."""


InviterEffect = Send | Stray | Failed | InviteAsked | InviteeJoined | InviteDone
InviteeEffect = Send | Failed | SpaceOffered | InviteDone


def speaks_for(person: Person, agreement: bytes) -> bool:
    """Whether the D that the handshake proved is that of the active device which the person names."""
    active = {d.id: d for d in active_devices(person.statements, person.identity)}
    return person.device in active and same(active[person.device].agreement, agreement)


def encode_person(person: Person) -> bytes:
    """`version | suite | R | device id | prekey | statements | profile`."""
    out = Writer()
    write_person(out, person)
    return out.finish()


def write_person(out: Writer, person: Person) -> None:
    """Writes what `read_person` reads.  Raises ValueError for a long profile, KithkinError for too many statements."""
    if len(person.profile) > MAX_PROFILE:
        raise ValueError("profile is too long for an invite")
    out.raw(PREFIX).raw(person.identity).raw(person.device).buffer(person.prekey)
    out.buffer(encode_statements(sendable(person.statements, person.identity))).buffer(person.profile)


def decode_person(data: bytes) -> Person:
    """Raises DecodeError."""
    reader = Reader(data)
    person = read_person(reader)
    reader.end()
    return person


def read_person(reader: Reader) -> Person:
    """Raises DecodeError."""
    read_suite(reader)
    identity, device, prekey = check_point(reader.fixed(32)), reader.fixed(32), check_prekey(read_prekey(reader))
    statements = decode_statements(reader.buffer(MAX_STATEMENT_SET))
    return Person(identity, statements, device, prekey, reader.buffer(MAX_PROFILE))


def person_of(identity: bytes, statements: Iterable[Statement], keys: DeviceKeys, profile: bytes = b"") -> Person:
    """This device as the other side will see it."""
    ascending = tuple(sorted(statements, key=lambda s: s.id))
    return Person(identity, ascending, keys.id, keys.prekey.public, profile)
