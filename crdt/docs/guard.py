"""Decides whether an update body may enter documents, from the body and its place (core key, seq) alone.

`docs/protocol.md`, "Documents and the guard".  It keeps no state and never defers: what it admits sets fresh keys that
only this entry can set, so it cannot forge, overwrite, erase or nest, and Yjs implementations agree about it.  Nothing
reaches native code without `Admit`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from crdt.docs.ids import LOW_53, client_hash, client_id, writer_id
from crdt.docs.kinds import KINDS, MAX_UPDATE, DocKind
from crdt.docs.rules import Rule, Unscannable
from crdt.docs.yjs import Put, client_bytes, encode_update, scan_update


class Admit(NamedTuple):
    """The whole content of the update; the stored bytes may go to Yjs as they are."""

    kind: DocKind
    puts: tuple[Put, ...]


class Refuse(NamedTuple):
    """The first rule broken."""

    rule: Rule


Verdict = Admit | Refuse


def examine(body: bytes, core: bytes, seq: int, expected: DocKind | None = None) -> Verdict:
    """The verdict over one update body that stands at `seq` of the feed `core`.

    expected: the kind that this space's entries may have (a chat space holds chat pages, the personal space personal
    ones); None takes any known kind.
    """
    if len(body) > MAX_UPDATE + 2:
        return Refuse(Rule.SIZE)
    kind = _HEADS.get(body[:2])
    if kind is None:
        return Refuse(Rule.KIND)
    if expected is not None and kind is not expected:
        return Refuse(Rule.PAGE)
    return GUARDS[kind](body, kind, core, seq)


def guard_puts(body: bytes, kind: DocKind, core: bytes, seq: int) -> Verdict:
    """The guard of chat pages and personal pages: the fast path where it matches, else the full scan."""
    return _one_put(body, kind, core, seq) or scan_puts(body, kind, core, seq)


def scan_puts(body: bytes, kind: DocKind, core: bytes, seq: int) -> Verdict:
    """The full scan: decode, hold every name against this entry, encode again, compare the bytes."""
    data = body[2:]
    try:
        client, puts = scan_update(data)
    except Unscannable as error:
        return Refuse(error.rule)
    if client != client_id(core, seq):
        return Refuse(Rule.CLIENT)
    roots = KINDS[kind].roots
    prefix = f"{writer_id(core)}/{seq}/"
    for index, put in enumerate(puts):
        if put.root not in roots:
            return Refuse(Rule.ROOT)
        if put.key != f"{prefix}{index}":
            return Refuse(Rule.KEY)
    if encode_update(client, puts) != data:
        return Refuse(Rule.FORM)
    return Admit(kind, puts)


# For each kind its guard.  A collaborative kind brings its own, with rules of its own numbers.
GUARDS: dict[DocKind, Callable[[bytes, DocKind, bytes, int], Verdict]] = {
    DocKind.CHAT: guard_puts,
    DocKind.PERSONAL: guard_puts,
}

_HEADS: dict[bytes, DocKind] = {bytes((kind, spec.version)): kind for kind, spec in KINDS.items()}


@lru_cache(maxsize=64)
def _root_names(kind: DocKind) -> dict[bytes, str]:
    """Allowed roots by their encoding."""
    return {root.encode(): root for root in KINDS[kind].roots}


def _one_put(body: bytes, kind: DocKind, core: bytes, seq: int) -> Admit | None:
    """The verdict over the usual body, one put: it is compared with the bytes it must have.  None: scan it in full.

    Whatever is admitted here has the one form that `encode_update` gives, because every byte but those of the string
    is compared with that form.
    """
    state = client_hash(core).copy()
    state.update(seq.to_bytes(8, "little"))
    client = int.from_bytes(state.digest()[:8], "little") & LOW_53
    head = b"\x01\x01%b\x00\x28\x01" % client_bytes(client)
    if not body.startswith(head, 2):
        return None
    size = len(body)
    at = len(head) + 2
    if at >= size:
        return None
    start = at + 1
    at = start + body[at]
    root = _root_names(kind).get(body[start:at])
    if root is None:
        return None
    key = f"{writer_id(core)}/{seq}/0"
    middle = b"%c%b\x01\x77" % (len(key), key.encode())
    if not body.startswith(middle, at):
        return None
    at += len(middle)
    # the string's length and bytes and the empty delete set are all that may be left
    left = size - at
    if left <= 129:
        length = left - 2
        value_at = at + 1
        if length < 0 or body[at] != length:
            return None
    elif left <= 16386:  # two length bytes, up to 16,383
        length = left - 3
        value_at = at + 2
        if length < 128 or body[at] != length & 0x7F | 0x80 or body[at + 1] != length >> 7:
            return None
    else:
        return None
    if body[-1]:
        return None
    try:
        json = body[value_at:-1].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return Admit(kind, (Put(root, key, json),))
