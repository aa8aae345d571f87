"""Consent: what a new feed's W signs before anybody may admit it (`docs/protocol.md`, "Consent").

The signature names the space, the one feed that may admit, the kind of admission and everything that the operation
says about the newcomer, so nobody can admit a feed that is not offered to it, or as something else, or under another
device or prekey.  A succession is signed by the old W in the same way, outside its feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from crdt.log.head import valid_writer
from crdt.space.control import Add, Admit, ControlEntry, Op, Parent, Succeed
from crdt.space.standing import decoded
from identity.codec import Writer
from identity.device_set import active_devices
from identity.keys import SigningKey, verify
from identity.labels import Label

ADD, ADMIT = 1, 2


def consent_body(space: bytes, admitting: bytes, identity: bytes | None, device: bytes, prekey: bytes) -> bytes:
    """space id | core key of the admitting feed | operation (1, 2) | identity (1 only) | device id | prekey."""
    kind = ADMIT if identity is None else ADD
    return space + admitting + bytes((kind,)) + (identity or b"") + device + prekey


def sign_consent(
    key: SigningKey, space: bytes, admitting: bytes, *, identity: bytes | None, device: bytes, prekey: bytes
) -> bytes:
    """64 bytes.  identity: for `add`; None for `admit` into the member of the admitting feed (core key)."""
    return key.sign(Label.CONSENT, consent_body(space, admitting, identity, device, prekey))


def verify_consent(space: bytes, admitting: bytes, op: Add | Admit) -> bool:
    """Whether the feed of `op` agreed to be admitted by this feed (core key), and as this."""
    identity = op.identity if isinstance(op, Add) else None
    body = consent_body(space, admitting, identity, op.device, op.prekey)
    return valid_writer(op.writer) and verify(op.writer, Label.CONSENT, body, op.consent)


def succession_body(space: bytes, core: bytes, parents: Sequence[Parent]) -> bytes:
    """space id | core key of the new feed | control parents of its block 0."""
    out = Writer().raw(space).raw(core)
    return out.array(tuple(parents), lambda w, p: w.raw(p.core).uint(p.seq).raw(p.hash)).finish()


def sign_succession(old: SigningKey, space: bytes, core: bytes, parents: Sequence[Parent]) -> bytes:
    """64 bytes by the old W for the feed `core` whose block 0 names exactly these parents."""
    return old.sign(Label.SUCCEED, succession_body(space, core, parents))


def verify_succession(space: bytes, entry: ControlEntry, op: Succeed) -> bool:
    """Whether the old W signed that this feed succeeds it with exactly these parents."""
    body = succession_body(space, entry.core, entry.parents)
    return valid_writer(op.old) and verify(op.old, Label.SUCCEED, body, op.signature)


def agreement_of(statements: Iterable[bytes], identity: bytes, device: bytes) -> bytes | None:
    """D of a device that these encoded statements show as one of `identity`, or None."""
    return _agreements(frozenset(statements), identity).get(device)


@lru_cache(maxsize=1024)
def _agreements(statements: frozenset[bytes], identity: bytes) -> dict[bytes, bytes]:
    return {device.id: device.agreement for device in active_devices(decoded(statements), identity)}


def verify_op(space: bytes, entry: ControlEntry, op: Op) -> bool:
    """Whether the signatures inside an operation are good.  One that is not never counts."""
    match op:
        case Add() | Admit():
            return verify_consent(space, entry.core, op)
        case Succeed():
            return verify_succession(space, entry, op)
        case _:
            return True
