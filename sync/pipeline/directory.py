"""Everybody's devices: the union of device statements that any space, invite or pairing told us.

Decides which keys belong to a device id and which devices an identity has now.  Statements stand for themselves, so
it does not matter who brought them.  The store holds them already inside control entries; what arrived otherwise (in
a pairing, an invite) is kept under META.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from identity.device_set import Device, active_devices, relevant
from identity.errors import DecodeError
from identity.keys import AgreementKey
from identity.statement import Certificate, Statement, decode_statement
from sync.store.port import Batch, Store, Table, prefix_end

MAX_IDENTITIES = 4096
MAX_OF_IDENTITY = 512
_PREFIX = b"statement/"


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that some certificate names, whether or not it is active."""

    id: bytes
    identity: bytes
    signing: bytes
    agreement: bytes


@dataclass(slots=True)
class Directory:
    """own: our D, from which the pairwise secrets with every known device follow (kept, each costs an X25519)."""

    own: AgreementKey
    _statements: dict[bytes, dict[bytes, Statement]] = field(default_factory=dict)
    _devices: dict[bytes, KnownDevice] = field(default_factory=dict)
    _active: dict[bytes, tuple[Device, ...]] = field(default_factory=dict)
    _shared: dict[bytes, bytes] = field(default_factory=dict)

    def learn(self, encoded: Iterable[bytes]) -> list[Statement]:
        """Takes in what is good and new, and returns it; what does not decode is left out."""
        fresh: list[Statement] = []
        for data in encoded:
            try:
                statement = decode_statement(data)
            except DecodeError:
                continue
            known = self._statements.get(statement.identity)
            if known is None:
                if len(self._statements) >= MAX_IDENTITIES:
                    continue
                known = self._statements[statement.identity] = {}
            if statement.id in known or len(known) >= MAX_OF_IDENTITY:
                continue
            known[statement.id] = statement
            self._active.pop(statement.identity, None)
            fresh.append(statement)
            if isinstance(statement, Certificate):
                self._devices.setdefault(
                    statement.device,
                    KnownDevice(statement.device, statement.identity, statement.signing, statement.agreement),
                )
        return fresh

    def device(self, device: bytes) -> KnownDevice | None:
        return self._devices.get(device)

    def agreements(self) -> list[bytes]:
        """D of every device known."""
        return [known.agreement for known in self._devices.values()]

    def active(self, identity: bytes) -> tuple[Device, ...]:
        """Oldest first, at most six."""
        found = self._active.get(identity)
        if found is None:
            found = self._active[identity] = active_devices(self._statements.get(identity, {}).values(), identity)
        return found

    def is_active(self, device: bytes) -> bool:
        known = self._devices.get(device)
        return known is not None and any(entry.id == device for entry in self.active(known.identity))

    def statements(self, identity: bytes) -> tuple[Statement, ...]:
        """Those that decide the device set now, for sending."""
        return relevant(self._statements.get(identity, {}).values(), identity)

    def encoded(self, identity: bytes) -> tuple[bytes, ...]:
        return tuple(statement.encoded for statement in self.statements(identity))

    def shared(self, device: bytes) -> bytes | None:
        """DH(D own, D device), 32 bytes; None for a device nobody certified."""
        secret = self._shared.get(device)
        if secret is None:
            known = self._devices.get(device)
            if known is None:
                return None
            try:
                secret = self._shared[device] = self.own.agree(known.agreement)
            except DecodeError:
                return None
        return secret


def put_statements(batch: Batch, statements: Iterable[Statement]) -> None:
    for statement in statements:
        batch.put(Table.META, _PREFIX + statement.identity + statement.id, statement.encoded)


def load_statements(store: Store) -> list[bytes]:
    return [value for _, value in store.scan(Table.META, _PREFIX, prefix_end(_PREFIX))]
