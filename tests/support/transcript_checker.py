"""Checks a transcript as a stranger would: written from docs/protocol.md, with nothing of the product imported.

`check(data)` raises `Refused` with the first thing that is wrong, or says what a believer would read out of it: who
said what when, which signatures there are, and everything about form that could tell two transcripts apart.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from nacl import bindings, exceptions


class Refused(AssertionError):
    """The transcript does not verify."""


def need(holds: object, what: str) -> None:
    if not holds:
        raise Refused(what)


@dataclass
class Found:
    """What a transcript says, and its form.

    said: (identity, text) in the order of the stamps; signatures: (label, whose) with how often; shape: for each feed
    in turn, its entries by kind; sizes: of texts and grants with how often; heads: how many entries name so many.
    """

    said: list[tuple[bytes, str]] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    signatures: Counter[tuple[str, str]] = field(default_factory=Counter)
    shape: list[list[str]] = field(default_factory=list)
    sizes: Counter[tuple[str, int]] = field(default_factory=Counter)
    heads: Counter[int] = field(default_factory=Counter)
    identities: list[bytes] = field(default_factory=list)


class Bytes:
    """Section 2, "Fields"."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), "bytes end early")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def uint(self) -> int:
        first = self.number(1)
        if first <= 252:
            return first
        value = self.number({253: 2, 254: 4, 255: 8}[first])
        need(value > {253: 252, 254: 0xFFFF, 255: 0xFFFFFFFF}[first], "a uint in its shortest form")
        return value

    def buffer(self) -> bytes:
        return self.take(self.uint())

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def H(data: bytes, **keys: Any) -> bytes:
    return blake2b(data, digest_size=keys.pop("size", 32), **keys).digest()


def labelled(label: str, data: bytes, size: int = 32) -> bytes:
    return H(data, person=label.encode(), size=size)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    if not bindings.crypto_core_ed25519_is_valid_point(public):
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (exceptions.BadSignatureError, exceptions.ValueError):
        return False
    return True


def is_signed_as(public: bytes, label: str, body: bytes, signature: bytes) -> bool:
    return is_signed(public, labelled(label, b"\0\0\1" + body), signature)


def namespace(index: int) -> bytes:
    return H(H(b"hypercore") + bytes((index,)))


def core_key(writer: bytes) -> bytes:
    return H(namespace(3) + b"\1\0\0\1\1\0" + namespace(4) + writer)


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


Leaf = tuple[int, bytes]


def tree_hash(leaves: list[Leaf]) -> bytes:
    """Section 7: one full subtree for each set bit of the length, left to right."""

    def root(some: list[Leaf]) -> Leaf:
        if len(some) == 1:
            return some[0]
        (a, left), (b, right) = root(some[: len(some) // 2]), root(some[len(some) // 2 :])
        return a + b, H(b"\1" + u64(a + b) + left + right)

    out, start = b"\2", 0
    for bit in range(len(leaves).bit_length() - 1, -1, -1):
        span = 1 << bit
        if len(leaves) & span:
            size, hash_ = root(leaves[start : start + span])
            out += hash_ + u64(2 * start + span - 1) + u64(size)
            start += span
    return H(out)


@dataclass
class Feed:
    writer: bytes
    core: bytes
    blocks: list[tuple[bytes, bytes]]
    leaves: list[Leaf]


def feed_of(data: Bytes) -> Feed:
    writer, length, root, signature = data.take(32), data.uint(), data.take(32), data.take(64)
    blocks, leaves = [], []
    for _ in range(length):
        size, erased = divmod(data.uint(), 2)
        if erased:
            leaves.append((size, data.take(32)))
            blocks.append((b"", b""))
            continue
        block = data.take(size)
        blocks.append((block, data.take(32)))
        leaves.append((size, H(b"\0" + u64(size) + block)))
    core = core_key(writer)
    need(tree_hash(leaves) == root, "the blocks are not those under the head")
    need(is_signed(writer, namespace(0) + core + root + u64(length) + u64(0), signature), "a head is not signed")
    return Feed(writer, core, blocks, leaves)


def text_of(block: bytes, key: bytes, core: bytes, seq: int, space: bytes, found: Found) -> bytes:
    """Section 8, "Entry"."""
    data = Bytes(block)
    need(data.take(2) == b"\0\1" and data.uint() == seq, "an entry stands where it says")
    tag, opening = data.take(8), data.take(32)
    if tag == bytes(8):
        found.sizes["grant", len(data.buffer())] += 1
    associated = block[: data.at] + core + space
    try:
        padded = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(data.rest(), associated, opening[:24], key)
    except exceptions.CryptoError:
        raise Refused("an entry does not open") from None
    need(H(core + u64(seq) + padded, key=key, person=b"kithkin opening") == opening, "an opening is not its text's")
    length = int.from_bytes(padded[:4], "little")
    need(not any(padded[4 + length :]), "padding is zeros")
    found.sizes["padded", len(padded)] += 1
    return padded[4 : 4 + length]


def puts_of(update: bytes, core: bytes, seq: int) -> list[tuple[str, str]]:
    """Section 15: the one form that the guard admits, as (root, JSON)."""
    need(update[:2] == b"\1\1", "a chat page")
    data = Bytes(update[2:])

    def varuint() -> int:
        value = shift = 0
        while True:
            byte = data.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    client = int.from_bytes(labelled("kithkin client", core + u64(seq))[:8], "little") & (2**53 - 1)
    name = b32encode(labelled("kithkin writer", core)[:10]).decode()
    need(varuint() == 1, "one client section")
    count = varuint()
    need(varuint() == client and varuint() == 0, "the client of this entry, from clock 0")
    found = []
    for place in range(count):
        need(data.take(2) == b"\x28\x01", "a value with a key of a root")
        root = data.take(varuint()).decode()
        need(data.take(varuint()).decode() == f"{name}/{seq}/{place}", "a key of this entry")
        need(data.take(2) == b"\x01\x77", "one string")
        found.append((root, data.take(varuint()).decode()))
    need(data.rest() == b"\0", "an empty delete set")
    return found


def device_of(statement: bytes, found: Found) -> tuple[bytes, bytes] | None:
    """Section 3, "Statements": (identity, device id) of a certificate whose two signatures are good."""
    data = Bytes(statement)
    need(data.take(2) == b"\0\1", "a statement of this version")
    if data.number(1) != 0:
        return None
    identity, signing, agreement = data.take(32), data.take(32), data.take(32)
    data.uint()
    data.uint()
    signer = data.take(65)[1:33] if data.data[data.at] else identity
    if signer is identity:
        data.take(1)
    for _ in range(data.uint()):
        data.take(32)
    body, counter, signature = statement[2 : data.at], data.take(64), data.take(64)
    need(is_signed_as(signing, "kithkin counter", body, counter), "a device did not agree to its certificate")
    need(is_signed_as(signer, "kithkin cert", body, signature), "a certificate is not signed")
    found.signatures["kithkin counter", "S of a device"] += 1
    found.signatures["kithkin cert", "R" if signer is identity else "S of a device"] += 1
    return identity, labelled("kithkin device", signing + agreement)


def newcomer(data: Bytes, identity: bytes, found: Found) -> tuple[bytes, bytes]:
    """(device id, prekey) of what an operation says about a device, which one of its certificates names."""
    device = data.take(32)
    statements = [data.buffer() for _ in range(data.uint())]
    need((identity, device) in [device_of(one, found) for one in statements], "a device that no certificate names")
    return device, data.buffer()


def check(data: bytes) -> Found:
    """Section 9, "Transcripts": everything in it.  Raises Refused."""
    reader = Bytes(data)
    need(reader.take(2) == b"\0\1", "a transcript of this version")
    space, found = reader.take(32), Found()
    feeds = [feed_of(reader) for _ in range(reader.uint())]
    need(not reader.rest(), "nothing follows")
    need(sorted(feed.writer for feed in feeds) == [feed.writer for feed in feeds], "feeds ascend")
    found.signatures["a head", "W"] = len(feeds)
    by_core = {feed.core: feed for feed in feeds}
    whose: dict[bytes, bytes] = {}  # core -> identity
    messages: list[tuple[int, bytes, str]] = []
    names: list[tuple[bytes, bytes, bytes]] = []
    shapes: dict[bytes, list[str]] = {}
    for feed in feeds:
        last = 0
        shape = shapes[feed.core] = []
        for seq, (block, key) in enumerate(feed.blocks):
            if not block:
                shape.append("erased")
                continue
            if key == bytes(32):
                shape.append("sealed")
                continue
            text = Bytes(text_of(block, key, feed.core, seq, space, found))
            kind, stamp = text.number(1), text.number(8)
            need(stamp > last, "stamps rise")
            last = stamp
            count = text.uint()
            found.heads[count] += 1
            for _ in range(count):
                head = text.take(8), text.uint(), text.take(16)
                names.append((head[0], head[1].to_bytes(8, "little"), head[2]))
            for _ in range(text.uint()):
                need(text.uint() >= 0 and text.buffer() is not None, "an extension")
            body = text.rest()
            if kind == 0:
                puts = puts_of(body, feed.core, seq)
                shape.append("+".join(root for root, _ in puts))
                messages += [(stamp, feed.core, json.loads(v)["text"]) for root, v in puts if root == "messages"]
            elif kind == 1:
                shape.append(control(body, feed, by_core, space, whose, found))
            else:
                shape.append(f"kind {kind}")
    for short, length, root in names:
        named = [feed for feed in feeds if feed.core[:8] == short]
        need(named, "a head of a feed that is here")
        need(tree_hash(named[0].leaves[: int.from_bytes(length, "little")])[:16] == root, "a head that was")
    for stamp, core, said in sorted(messages):
        need(core in whose, "a message of a writer that nobody let in")
        found.said.append((whose[core], said))
        found.stamps.append(stamp)
    creators = [feed.core for feed in feeds if labelled("kithkin space", feed.core) == space]
    need(len(creators) == 1, "the space is its creator's")
    order = sorted(feeds, key=lambda feed: (feed.core != creators[0], whose[feed.core]))
    found.shape = [shapes[feed.core] for feed in order]
    found.identities = [whose[feed.core] for feed in order]
    return found


def control(
    body: bytes, feed: Feed, by_core: dict[bytes, Feed], space: bytes, whose: dict[bytes, bytes], found: Found
) -> str:
    """Section 10: parents that exist, operations whose signatures are good."""
    data = Bytes(body)
    for _ in range(data.uint()):
        core, seq, hash_ = data.take(32), data.uint(), data.take(32)
        need(core in by_core and by_core[core].leaves[seq][1] == hash_, "a parent that is here")
    ops = []
    for _ in range(data.uint()):
        code, op = data.uint(), Bytes(data.buffer())
        if code == 0:
            op.take(1)
            op.buffer()
            whose[feed.core] = op.take(32)
            newcomer(op, whose[feed.core], found)
        elif code == 1:
            identity, writer = op.take(32), op.take(32)
            device, prekey = newcomer(op, identity, found)
            consent = space + feed.core + b"\1" + identity + device + prekey
            need(is_signed_as(writer, "kithkin consent", consent, op.take(64)), "a writer did not consent")
            found.signatures["kithkin consent", "W"] += 1
            whose[core_key(writer)] = identity
        ops.append({0: "create", 1: "add", 5: "set", 6: "epoch"}.get(code, f"op {code}"))
    return "control " + "+".join(ops)
