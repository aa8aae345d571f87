"""Random statements of one identity, folded by production and by this implementation: the same devices."""

from __future__ import annotations

import random

import pytest

from identity import device_set as production
from identity.device_set import certificates_to_keep
from identity.keys import AgreementKey, SigningKey
from identity.statement import (
    Certificate,
    Statement,
    certificate_body,
    counter_sign,
    decode_statements,
    encode_statements,
    issue,
    revoke,
    root_certificate,
)
from tests.second.device_set import fold_devices
from tests.second.random_space import Device, drawn
from tests.second.statement import read_set, write_set

ROOT = SigningKey.from_seed(drawn("R"))
DEVICES = [Device(SigningKey.from_seed(drawn("S", n)), AgreementKey.from_secret(drawn("D", n))) for n in range(8)]


def random_statement(rng: random.Random, held: list[Statement]) -> Statement:
    """A statement by R or any device, of a new, the newest or an old generation, with any list."""
    newest = max((one.generation for one in held), default=1)
    generation = rng.choice((newest, newest, newest, newest + 1, max(1, newest - 1)))
    created = rng.randint(1, 40)
    certificates = [one.id for one in held if isinstance(one, Certificate)]
    stay = sorted(one for one in certificates if rng.random() < 0.5)
    if rng.random() < 0.3 and held:
        stay = sorted(certificates_to_keep(held, ROOT.public))
    target, signer = rng.choice(DEVICES), rng.choice(DEVICES)
    by_root = rng.random() < 0.3
    if rng.random() < 0.65:
        if by_root:
            return root_certificate(
                ROOT, target.signing, target.agreement.public, created=created, generation=generation, stay=stay
            )
        body = certificate_body(
            ROOT.public,
            target.signing.public,
            target.agreement.public,
            created=created,
            generation=generation,
            signer=signer.signer,
        )
        return issue(body, counter_sign(body, target.signing), signer.signing)
    return revoke(
        ROOT.public,
        target.id,
        created=created,
        generation=generation,
        signer=None if by_root else signer.signer,
        key=ROOT if by_root else signer.signing,
        stay=stay,
    )


@pytest.mark.parametrize("part", range(4))
def test_both_device_sets_of_random_statements_agree(part: int) -> None:
    for seed in range(part * 100, (part + 1) * 100):
        rng = random.Random(seed)
        held: list[Statement] = []
        while len(held) < rng.randint(4, 18):
            one = random_statement(rng, held)
            if one.id not in {other.id for other in held}:
                held.append(one)
        encoded = encode_statements(held)
        read = read_set(encoded)
        assert write_set(read) == encoded and len(decode_statements(encoded)) == len(read)
        mine = fold_devices(read, ROOT.public)
        theirs = (
            tuple(device.id for device in production.active_devices(held, ROOT.public)),
            production.standing_devices(held, ROOT.public) or frozenset(),
            production.out_devices(held, ROOT.public),
        )
        assert (mine.active, mine.standing, mine.certified - mine.standing) == theirs, f"seed {seed}"
