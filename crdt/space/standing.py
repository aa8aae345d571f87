"""Standing: whether a device stands or is out, by the statements that operations carry (`docs/protocol.md` 11, "Out").

Statements are encoded; what is no statement, or not signed as it says, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple, Protocol

from crdt.space.operations import Add, Admit, Create, Op, Revoke, Succeed
from identity.device_set import out_devices, standing_devices
from identity.errors import DecodeError
from identity.statement import Statement, decode_statement, identity_of


class Standing(Protocol):
    """What a set of statements says of the devices of one identity."""

    def stands(self, device: bytes) -> bool:
        """Whether it is certified and not out."""

    def out(self, device: bytes) -> bool:
        """Whether it is certified, and revoked or not standing at the newest generation among the statements."""


Judge = Callable[[frozenset[bytes], bytes], Standing]  # statements, identity


class Judged(NamedTuple):
    """Devices by the fold over the statements of an identity; both empty while the root key has said nothing."""

    standing: frozenset[bytes]
    gone: frozenset[bytes]

    def stands(self, device: bytes) -> bool:
        return device in self.standing

    def out(self, device: bytes) -> bool:
        return device in self.gone


@lru_cache(maxsize=1024)
def judge(statements: frozenset[bytes], identity: bytes) -> Judged:
    """What these statements say of the devices of `identity`."""
    return _judge(frozenset(data for data in statements if identity_of(data) == identity), identity)


@lru_cache(maxsize=1024)
def _judge(statements: frozenset[bytes], identity: bytes) -> Judged:
    given = decoded(statements)
    return Judged(standing_devices(given, identity) or frozenset(), out_devices(given, identity))


def decoded(statements: Iterable[bytes]) -> list[Statement]:
    """Those that are statements."""
    return [good for data in statements if (good := _decoded(data)) is not None]


@lru_cache(maxsize=4096)  # a bad one costs its signatures once too
def _decoded(data: bytes) -> Statement | None:
    try:
        return decode_statement(data)
    except DecodeError:
        return None


def said_in(op: Op) -> frozenset[bytes]:
    """The device statements that an operation carries."""
    return frozenset(op.statements) if isinstance(op, Create | Add | Admit | Succeed | Revoke) else NOTHING


NOTHING: frozenset[bytes] = frozenset()
