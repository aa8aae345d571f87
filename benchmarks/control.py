"""A control graph of 2,000 entries: taken in, one after the other with the state after each, and read at a start.

python -m benchmarks.control [entries=2000] [rounds=5]

Twenty people with three devices each; devices come and are revoked, epochs and settings by everybody.  Consents and
device statements are signed and verified; feeds and their trees are another figure.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent
from crdt.space.control import (
    Add,
    Admit,
    Close,
    ControlBody,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    Revoke,
    Set,
    SpaceKind,
    decode_control,
    encode_control,
)
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End
from crdt.space.rendezvous import space_id
from crdt.space.snapshot import Snapshot, decode_snapshot, encode_snapshot
from crdt.space.standing import judge
from identity.device import DeviceKeys, new_device
from identity.keys import Random, SigningKey
from identity.statement import Certificate, decode_statement, revoke, root_certificate

PEOPLE, DEVICES, CREATED = 20, 3, 1_790_000_000
Row = dict[str, Any]


class OneBranch:
    """Feeds that never forked."""

    def proved(self, core: bytes, end: End) -> bool:
        return True

    def agree(self, core: bytes, a: End, b: End) -> bool:
        return True


@dataclass
class Device:
    """One device of a person, in the group."""

    root: SigningKey
    keys: DeviceKeys
    w: SigningKey
    certificate: Certificate
    length: int = 0

    @property
    def core(self) -> bytes:
        return core_key(self.w.public)


class Group:
    """Writes a group's control entries.  seed: of all randomness."""

    def __init__(self, seed: int) -> None:
        self._seeded = random.Random(seed)
        self.rng: Random = self._seeded.randbytes
        self.entries: list[ControlEntry] = []
        first = self._device(SigningKey.generate(self.rng))
        self.devices = [first]
        self.space = space_id(first.core)
        self.graph = ControlGraph(self.space, OneBranch())
        said, prekey = (first.certificate.encoded,), first.keys.prekey.public
        self._write(first, Create(SpaceKind.GROUP, "club", first.root.public, first.keys.id, said, prekey), epoch=True)
        for _ in range(PEOPLE - 1):
            self._enter(first, self._device(SigningKey.generate(self.rng)), Add)
        for device in list(self.devices):
            for _ in range(DEVICES - 1):
                self._enter(device, self._device(device.root), Admit)

    def _device(self, root: SigningKey) -> Device:
        keys = new_device(self.rng, CREATED)
        certificate = root_certificate(root, keys.signing, keys.agreement.public, created=CREATED, generation=CREATED)
        return Device(root, keys, SigningKey.generate(self.rng), certificate)

    def _enter(self, by: Device, new: Device, kind: type[Add] | type[Admit]) -> None:
        identity, prekey = (new.root.public if kind is Add else None), new.keys.prekey.public
        consent = sign_consent(new.w, self.space, by.core, identity=identity, device=new.keys.id, prekey=prekey)
        said = (new.certificate.encoded,)
        op: Op = Admit(new.w.public, new.keys.id, said, prekey, consent)
        if identity is not None:
            op = Add(identity, new.w.public, new.keys.id, said, prekey, consent)
        self._write(by, op, epoch=True)
        self.devices.append(new)

    def _write(self, by: Device, *ops: Op, epoch: bool = False) -> None:
        if epoch:
            after = self.graph.preview(by.w.public, ops, seq=by.length)
            over = tuple(sorted(e.id for e in after.epochs.values() if not e.superseded))
            ops = (*ops, Epoch(after.roster, over, bytes(32)))
        body = decode_control(encode_control(ControlBody(self.graph.tips(by.core), ops)))
        id_ = blake2b(b"%d" % len(self.entries), digest_size=32).digest()
        entry = ControlEntry(id_, by.w.public, by.length, id_, len(self.entries) << 16, body.parents, body.ops)
        by.length += 1
        self.graph.add(entry)
        self.entries.append(entry)

    def live(self, entries: int) -> list[ControlEntry]:
        """So many entries in all: a device is replaced every thirty, every third entry opens an epoch."""
        while len(self.entries) < entries:
            by, number = self._seeded.choice(self.devices), len(self.entries)
            own = [device for device in self.devices if device.root is by.root and device is not by]
            if number % 30 == 0 and own:
                self._replace(by, own[0])
            elif number % 3 == 0:
                self._write(by, epoch=True)
            elif self.graph.state().rank(by.core) == 0:
                self._write(by, Set("title", b"club %d" % number))
            else:
                self._write(by, Epoch(self.graph.state().roster, (), bytes(32)))
        return self.entries

    def _replace(self, by: Device, old: Device) -> None:
        gone = revoke(
            by.root.public, old.keys.id, created=CREATED, generation=CREATED, signer=None, key=by.root,
            stay=[by.certificate.id],
        )  # fmt: skip
        said = (gone.encoded, old.certificate.encoded)
        end = FeedEnd(old.w.public, *self.graph.reach(old.core))
        self._write(by, Revoke(old.keys.id, said), Close(None, (end,)), epoch=True)
        self.devices.remove(old)
        self._enter(by, self._device(by.root), Admit)


def clocked(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = act()
    return time.process_time() - began, found


def forget() -> None:
    """What was verified before, in this process, is verified again."""
    for remembered in (decode_statement, judge):
        remembered.cache_clear()


def one_round(space: bytes, entries: list[ControlEntry]) -> Row:
    """CPU seconds to take all in (at once; with the state after each), CPU milliseconds to read a snapshot."""

    def taken(each: bool) -> ControlGraph:
        graph = ControlGraph(space, OneBranch())
        for entry in entries:
            graph.add(entry)
            if each:
                graph.state()
        graph.state()
        return graph

    forget()
    at_once, graph = clocked(lambda: taken(each=False))
    forget()
    one_by_one, again = clocked(lambda: taken(each=True))
    if len(graph) != len(entries) or graph.state() != again.state():
        raise RuntimeError("the states differ")
    data = encode_snapshot(Snapshot(len(graph), 0, (), (), (), graph.state()))
    start, read = clocked(lambda: decode_snapshot(data, lambda *ends: True))
    if read is None or read.state != graph.state():
        raise RuntimeError("the snapshot reads otherwise")
    return {
        "at_once_s": round(at_once, 3),
        "one_by_one_s": round(one_by_one, 3),
        "start_ms": round(1000 * start, 1),
        "snapshot_kb": round(len(data) / 1000),
    }


def main(entries: int = 2000, rounds: int = 5) -> None:
    group = Group(1)
    written = group.live(entries)
    rows = [one_round(group.space, written) for _ in range(rounds)]
    state = group.graph.state()
    print(
        json.dumps(
            {
                "entries": len(written),
                "operations": sum(len(entry.ops) for entry in written),
                "writers": len(state.writers),
                **{key: statistics.median(row[key] for row in rows) for key in rows[0]},
                "rounds": rows,
            }
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
