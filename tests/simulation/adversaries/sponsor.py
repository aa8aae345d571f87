"""The thief of a phone that was shut out uses its keys to let in devices of his own, dated as he likes.

Held by: a certificate falls with its issuer unless the revocation lists it or was signed under it, whatever its date
and generation (`identity/device_set.py`), and nobody is admitted whose statements do not show it as standing.
"""

from __future__ import annotations

from crdt.space.consent import sign_consent
from crdt.space.control import Admit
from identity.device import new_device
from identity.keys import SigningKey
from identity.statement import Certificate, certificate_body, counter_sign, issue
from sync.engine.introduction import FOLLOWS, encode_follows
from tests.support.device import Device
from tests.support.household import CLUB, Household, deafen, enact, key_of, opened_of, pass_on, shut_out


def play(seed: str) -> None:
    home = Household(seed)
    world, thief, helper = home.world, home.phone, home.mal
    for accomplice in (thief, helper):
        deafen(accomplice, home.ada)
    world.cut(thief, [home.desk, home.bob])
    shut_out(home.desk, key_of(thief))
    world.settle()
    devices = [new_device(thief.rng, thief.now) for _ in range(4)]
    generation = home.desk.engine.profile.directory.generation(home.ada)
    dates = [(0, generation), (int(thief.now), generation), (1, generation + 1), (2**53 - 1, 2**53 - 1)]
    made = [certify(thief, one, *date) for one, date in zip(devices, dates, strict=True)]

    # A real device of his, by the production pairing; the others are keys that a member speaks for.
    fresh = world.link(thief, "laptop", settle=False, away_from=[home.desk, home.bob])
    deafen(fresh, home.ada)
    account = thief.engine.profile.account
    statements = tuple(dict.fromkeys([*thief.engine.profile.directory.encoded(home.ada), *(c.encoded for c in made)]))
    tell(home, statements)
    club = thief.space(CLUB)
    assert club.mine is not None
    for one in devices:
        key = SigningKey.generate(thief.rng)
        prekey = one.prekey.public
        consent = sign_consent(key, club.id, club.mine.core, identity=None, device=one.id, prekey=prekey)
        enact(thief, club, Admit(key.public, one.id, statements, prekey, consent))
    pass_on(thief, helper, club.id)
    world.run(3)
    world.heal().settle()
    home.bob.send("Ada", "to Ada")
    home.desk.send(CLUB, "to the club")
    home.promises(also=["to the club"])

    his = {key_of(thief), key_of(fresh), *(one.id for one in devices)}
    assert account.identity == home.ada
    for honest in home.honest:
        profile = honest.engine.profile
        assert [one.id for one in profile.directory.active(home.ada)] == [key_of(home.desk)], honest.name
        for space in profile.spaces.values():
            assert not his & {place.device for place in space.state.roster}, (honest.name, space.kind)
        for core in (feed_of(home.desk, CLUB), feed_of(home.bob, CLUB)):
            assert not opened_of(fresh, club.id, core, profile.spaces[club.id].feed_store.feeds[core].length - 1)
        assert not [peer for peer in profile_peers(honest) if peer in his], honest.name
    assert not {"to Ada", "to the club"} & set(world.texts(fresh)), world.texts(fresh)


def certify(by: Device, one: object, created: int, generation: int) -> Certificate:
    """The stolen device's certificate of a device, of any date and generation."""
    keys = by.engine.profile.account.keys
    body = certificate_body(
        by.engine.profile.account.identity,
        one.signing.public,  # type: ignore[attr-defined]
        one.agreement.public,  # type: ignore[attr-defined]
        created=created,
        generation=generation,
        signer=(keys.signing.public, keys.agreement.public),
    )
    return issue(body, counter_sign(body, one.signing), keys.signing)  # type: ignore[attr-defined]


def tell(home: Household, statements: tuple[bytes, ...]) -> None:
    """Mal says it to everybody that he is connected to."""

    def say(engine: object) -> None:
        for peer in home.mal.engine.peers.values():
            if peer.device in (key_of(home.bob), key_of(home.desk)) and not peer.closing:
                peer.mux.send(peer.main, FOLLOWS, encode_follows(home.ada, statements, ()))

    home.mal.do(say)


def feed_of(device: Device, chat: str) -> bytes:
    mine = device.space(chat).mine
    assert mine is not None
    return mine.core


def profile_peers(device: Device) -> list[bytes | None]:
    """Devices to which a space is open."""
    return [peer.device for peer in device.engine.peers.values() if peer.links and not peer.closing]
