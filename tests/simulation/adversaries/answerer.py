"""Somebody answers offers that are not his to answer: a friend's, his own of long ago, one that was taken back.

Held by: an offer is answered in the chat in which it was made (`group_talks`), is used up by the coming-in or removal
that followed it (`offer_is_used`), and a consent names the very feed, identity and space (`verify_consent`).
"""

from __future__ import annotations

from crdt.docs.chat import Answer, Consent, Offer, OfferedFeed
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent
from identity.keys import SigningKey
from sync.engine.talks import group_talks
from sync.engine.tasks.offers import members_of
from tests.support.device import Device
from tests.support.household import CLUB, add, agree, compose, is_in, refused, remove, written
from tests.support.world import World

BOUND = 16  # entries that Ada may write for all of it


def play(seed: str) -> None:
    world = World(seed)
    ada, bob, cem, mal = (world.person(name) for name in ("Ada", "Bob", "Cem", "Mal"))
    for friend in (bob, cem, mal):
        world.friends(ada, friend)
    world.friends(mal, cem)
    world.grouped(CLUB, ada, bob)
    add(ada, "Mal")
    world.settle()
    mal.join(CLUB)
    world.settle()
    assert is_in(bob, "Mal")
    remove(ada, "Mal")
    add(ada, "Cem")
    world.settle()
    before = written(ada)
    theirs = offers(cem, ada)
    used = offers(mal, ada)
    assert len(theirs) == len(used) == 1

    # A friend told him of her offer, and gave him her answer, too.
    hers, his = theirs[0], used[0]
    direct = mal.space(ada)
    given = answer(cem, hers, as_of=cem)
    stolen = Answer(hers.space, given.statements, given.feeds, his.id)
    tries = [
        answer(mal, hers),
        answer(mal, his),
        answer(mal, Offer(his.space, his.creator, "", mal.rng(16), his.feeds, his.past)),
        answer(mal, Offer(hers.space, hers.creator, "", his.id, hers.feeds, hers.past)),
        given,
        stolen,
        Answer(hers.space, answer(mal, hers).statements, given.feeds, hers.id),
    ]
    for one in tries:
        compose(mal, direct, [one])
        world.run(1)
    # He says what she said, as if he had: with her offer's id, of her group, and of one of his own under that id.
    compose(mal, direct, [hers], [Offer(hers.space, hers.creator, CLUB, mal.rng(16))])
    ada.restart()
    world.settle()
    for honest in (ada, bob):
        assert not is_in(honest, "Mal") and not is_in(honest, "Cem"), honest.name
    assert written(ada) - before <= BOUND, written(ada) - before

    remove(ada, "Cem")  # takes the offer back
    world.settle()
    compose(cem, cem.space(ada), [given])
    world.settle()
    assert refused(lambda: cem.join(CLUB)) == "not_allowed" and not is_in(ada, "Cem")
    add(ada, "Cem")
    world.settle()
    cem.join(CLUB)
    world.settle()
    ada.send(CLUB, "the three of us")
    world.settle()
    agree([ada, bob, cem])
    for honest in (ada, bob, cem):
        assert is_in(honest, "Cem") and not is_in(honest, "Mal"), honest.name
        assert world.texts(honest, CLUB)[-1] == "the three of us", honest.name
    assert "the three of us" not in world.texts(mal)
    assert written(ada) - before <= BOUND, written(ada) - before


def offers(device: Device, by: Device) -> list[Offer]:
    """Offers of the group that this device got of somebody."""
    space = device.space(by)
    member = members_of(space, device.world.identities[by.owner])
    talks = group_talks(device.engine.profile, space).values()
    return [offer for talk in talks for (who, _), offer in talk.offers.items() if who in member]


def answer(device: Device, offer: Offer, *, as_of: Device | None = None) -> Answer:
    """A yes with a fresh feed of the device, good in every signature."""
    profile = (as_of or device).engine.profile
    account, key = profile.account, SigningKey.generate(device.rng)
    prekey = account.keys.prekey.public
    consents = tuple(
        Consent(
            writer,
            sign_consent(
                key, offer.space, core_key(writer), identity=account.identity, device=account.device, prekey=prekey
            ),
        )
        for writer in offer.feeds
    )
    feed = OfferedFeed(key.public, account.device, prekey, consents)
    return Answer(offer.space, profile.directory.encoded(account.identity, account.device), (feed,), offer.id)
