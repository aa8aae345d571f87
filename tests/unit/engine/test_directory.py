"""The owner of a device: any number of junk statements, by any signer, changes nothing and takes nobody's place."""

from __future__ import annotations

from identity.device import DeviceKeys, new_device
from identity.device_set import revoked_devices
from identity.keys import SigningKey
from identity.statement import (
    Certificate,
    Statement,
    certificate_body,
    counter_sign,
    decode_statement,
    issue,
    revoke,
    root_certificate,
)
from sync.account import directory as directories
from sync.account.directory import Directory
from tests.support.streams import stream

NOW = 1_790_000_000
RNG = stream("directory")
SPACE = bytes(32)


def device() -> DeviceKeys:
    return new_device(RNG, NOW)


def certified(root: SigningKey, keys: DeviceKeys, generation: int = 1) -> Certificate:
    return root_certificate(root, keys.signing, keys.agreement.public, created=NOW, generation=generation)


def by(signer: DeviceKeys, identity: bytes, keys: DeviceKeys) -> Certificate:
    """A certificate for `keys` as one of the identity's, signed by a device."""
    body = certificate_body(
        identity,
        keys.signing.public,
        keys.agreement.public,
        created=NOW + 1,
        generation=1,
        signer=(signer.signing.public, signer.agreement.public),
    )
    return issue(body, counter_sign(body, keys.signing), signer.signing)


def shut(signer: DeviceKeys, identity: bytes, other: bytes) -> Statement:
    pair = (signer.signing.public, signer.agreement.public)
    return revoke(identity, other, created=NOW + 2, generation=1, signer=pair, key=signer.signing)


def encoded(*statements: Statement) -> list[bytes]:
    return [statement.encoded for statement in statements]


def test_junk_statements_do_not_displace_real_ones() -> None:
    root, phone, desk, thief = SigningKey.generate(RNG), device(), device(), device()
    first, second = certified(root, phone), by(phone, root.public, desk)
    junk: list[Statement] = [shut(thief, root.public, RNG(32)) for _ in range(512)]
    junk.append(by(thief, root.public, thief))
    for order in (("junk", "real"), ("first", "junk", "second"), ("junk", "first", "junk", "second")):
        directory = Directory(device().agreement)
        parts: dict[str, list[Statement]] = {
            "junk": junk,
            "real": [first, second],
            "first": [first],
            "second": [second],
        }
        for part in order:
            directory.learn(encoded(*parts[part]))
        assert [found.id for found in directory.active(root.public)] == [phone.id, desk.id]
        assert directory.device(thief.id) is None
        assert set(directory.encoded(root.public)) == set(encoded(first, second))


def test_junk_identities_of_a_space_displace_nobody() -> None:
    directory = Directory(device().agreement)
    for _ in range(directories.MAX_TOLD + 50):
        directory.learn(encoded(certified(SigningKey.generate(RNG), device())), by=SPACE)
    assert len(directory.agreements()) == directories.MAX_TOLD
    for told in (None, bytes([1]) * 32):
        root, phone = SigningKey.generate(RNG), device()
        directory.learn(encoded(certified(root, phone)), by=told)
        assert [found.id for found in directory.active(root.public)] == [phone.id]


def test_sent_statements_fit_one_message_whatever_a_thief_signs() -> None:
    root, phone, thief = SigningKey.generate(RNG), device(), device()
    pair = (thief.signing.public, thief.agreement.public)
    wide = [
        revoke(
            root.public,
            RNG(32),
            created=NOW + 2,
            generation=1,
            signer=pair,
            key=thief.signing,
            stay=sorted(RNG(32) for _ in range(64)),
        )
        for _ in range(100)
    ]
    directory = Directory(device().agreement)
    directory.learn(encoded(certified(root, phone), by(phone, root.public, thief), *wide))
    sent = directory.encoded(root.public)
    assert sum(map(len, sent)) <= directories.MAX_SENT_BYTES and len(sent) <= directories.MAX_SENT
    assert set(encoded(certified(root, phone), by(phone, root.public, thief))) <= set(sent)


def test_revocation_is_proved_by_few_of_hundreds_of_statements() -> None:
    root, phone, tablet, thief = SigningKey.generate(RNG), device(), device(), device()
    listed = certified(root, phone)
    again = root_certificate(root, tablet.signing, tablet.agreement.public, created=NOW, generation=1, stay=[listed.id])
    junk = [shut(thief, root.public, RNG(32)) for _ in range(300)]
    directory = Directory(device().agreement)
    directory.learn(encoded(listed, again, by(phone, root.public, thief), *junk, shut(tablet, root.public, thief.id)))
    shown = [decode_statement(s) for s in directory.evidence(root.public, thief.id)]
    assert len(shown) <= 4
    assert thief.id in revoked_devices(shown, root.public)
    assert directory.evidence(root.public, phone.id) == ()


def test_listed_certificate_of_an_older_generation_ends_the_chain() -> None:
    root, phone, desk, thief = SigningKey.generate(RNG), device(), device(), device()
    kept = by(phone, root.public, desk)
    newer = root_certificate(root, thief.signing, thief.agreement.public, created=NOW, generation=2, stay=[kept.id])
    pair = (desk.signing.public, desk.agreement.public)
    gone = revoke(root.public, thief.id, created=NOW + 3, generation=2, signer=pair, key=desk.signing)
    directory = Directory(device().agreement)
    directory.learn(encoded(certified(root, phone), kept, newer, gone))
    shown = [decode_statement(s) for s in directory.evidence(root.public, thief.id)]
    assert thief.id in revoked_devices(shown, root.public)


def test_device_of_an_older_generation_is_known_as_out_in_whatever_order_statements_come() -> None:
    """A store is read at once: the device that the root key's newest word leaves out must not be a stranger then."""
    root, phone, desk, new = SigningKey.generate(RNG), device(), device(), device()
    given = encoded(certified(root, phone), by(phone, root.public, desk), certified(root, new, generation=2))
    for parts in ([given], [[one] for one in given], [[one] for one in reversed(given)]):
        directory = Directory(device().agreement)
        for part in parts:
            directory.learn(part)
        assert directory.is_out(phone.id) and directory.is_out(desk.id) and not directory.is_out(new.id)
