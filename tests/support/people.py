"""Identities and devices for tests of the identity layer, from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from identity.device import DeviceKeys, new_device
from identity.keys import SigningKey
from identity.statement import Statement, certificate_body, counter_sign, issue, root_certificate
from tests.support.streams import stream

BORN = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Family:
    """A root key, its devices (the first certified by the root key, the rest by the first), and their statements."""

    root: SigningKey
    devices: tuple[DeviceKeys, ...]
    statements: tuple[Statement, ...]

    @property
    def identity(self) -> bytes:
        return self.root.public


def family(name: str, devices: int = 1) -> Family:
    root = SigningKey.generate(stream(f"{name}/root"))
    keys = tuple(new_device(stream(f"{name}/{n}"), BORN) for n in range(devices))
    statements: list[Statement] = [
        root_certificate(root, keys[0].signing, keys[0].agreement.public, created=BORN, generation=BORN)
    ]
    statements += [certify(root.public, keys[0], other, BORN + n) for n, other in enumerate(keys[1:], 1)]
    return Family(root, keys, tuple(statements))


def certify(identity: bytes, by: DeviceKeys, device: DeviceKeys, created: int, generation: int = BORN) -> Statement:
    body = certificate_body(
        identity,
        device.signing.public,
        device.agreement.public,
        created=created,
        generation=generation,
        signer=(by.signing.public, by.agreement.public),
    )
    return issue(body, counter_sign(body, device.signing), by.signing)


def names_of(effects: Sequence[object]) -> list[str]:
    return [type(effect).__name__ for effect in effects]
