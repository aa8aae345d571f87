"""An admin lets in feeds of his own as Ada's friends and as a second device of Bob, who claim names and deliveries.

Held by: a writer stands for its person once it proved itself to this very device, or its person's proved writer let it
in (`sync/space/proofs.py`); names, marks and "delivered" of others are on somebody's word or count for nobody
(`sync/service/names.py`, `sync/space/delivered.py`).
"""

from __future__ import annotations

from crdt.docs.chat import MemberProfile, Reaction
from crdt.log.head import HeadRef
from crdt.space.consent import sign_consent
from crdt.space.control import Add, Admit
from crdt.space.record import Report, encode_record, seal_record
from identity.keys import SigningKey
from identity.statement import certificate_body, counter_sign, issue
from sync.service import chats, messages
from sync.service.ids import chat_id, identity_id
from sync.space.epochs import open_epoch
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.household import key_of, say, speak

ASIDE = "is this for Bob's eyes?"


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    dora = world.person("Dora")
    world.friends(ada, dora)
    world.friends(mal, dora)
    bob.send(CLUB, "it is me, Bob")
    world.settle()
    puppets = {
        "Dora": let_in(cast, dora),
        "Bob again": let_in(cast, bob),
        "Bob's key": borrow(cast, bob),
    }
    world.run(3)
    (row,) = ada.rows(CLUB)
    for name, feed in puppets.items():
        speak(mal, cast.club, feed, f"from {name}")
        say(mal, cast.club, feed, MemberProfile("Ada", None), Reaction(row.id, "\N{THUMBS DOWN SIGN}", True))
    world.run(5)

    bob.stop()
    world.run(3)
    ada.send(CLUB, ASIDE)
    world.run(3)
    for feed in puppets.values():
        claim_everything(cast, feed)
    world.run(10)
    states = {message.text: message.state for message in world.of(ada, CLUB)}
    assert states[ASIDE] == "queued", states
    assert ASIDE in world.outbox(ada)
    bob.boot()
    world.run(20)

    for device in cast.honest:
        profile, now_ms = device.engine.profile, int(device.now * 1000)
        shown = messages.page(profile, device.space(CLUB), 100, None, None, now_ms).messages
        by = {one.text: (one.author_name, one.proved, one.mine) for one in shown}
        assert by["it is me, Bob"] == ("Bob", True, device is bob), by
        assert by[ASIDE] == ("Ada", True, device is ada), by
        for name in puppets:
            author, proved, mine = by[f"from {name}"]
            if name == "Bob's key":
                assert (author, mine) == ("Mal", False), author  # one more device of his own, whatever its D
            else:
                assert author.endswith("vouched by Mal") and not proved and not mine, (device.name, author)
                assert not author.startswith("Ada,"), (device.name, author)  # a name that is taken has its id beside it
        (first,) = [one for one in shown if one.text == "it is me, Bob"]
        assert list(first.reactions.values()) == [[identity_id(world.identities["Mal"])]], first.reactions
        listed = chats.members(profile, chat_id(device.space(CLUB).id)).members
        assert {one.name for one in listed if one.proved} <= {"Ada", "Bob", "Mal"}
        assert {one.name: one.proved for one in listed}["Ada"]
    for person in (dora, bob):
        assert "from Dora" not in world.texts(person, ada)
    assert key_of(dora) not in {peer.device for peer in bob.engine.peers.values()}
    states = {message.text: message.state for message in world.of(ada, CLUB)}
    assert states[ASIDE] == "queued", "Bob has it, and two of those it was said to never proved to be anybody"

    cast.remove(ada, dora)
    cast.remove(ada, mal)
    world.run(10)
    cast.promises(also=["it is me, Bob", ASIDE])
    assert not cast.in_group(bob, dora) and cast.in_group(ada, bob)


def let_in(cast: Cast, whose: Device) -> SigningKey:
    """A feed of Mal's, as a person of its own that is said to be somebody else's device."""
    account = whose.engine.profile.account
    statements = tuple(cast.mal.engine.profile.directory.encoded(account.identity))
    key, prekey = SigningKey.generate(cast.mal.rng), cast.mal.engine.profile.account.keys.prekey.public
    consent = sign_consent(
        key, cast.club.id, cast.feed.core, identity=account.identity, device=account.device, prekey=prekey
    )
    op = Add(account.identity, key.public, account.device, statements, prekey, consent)
    cast.do(lambda space, now_ms: open_epoch(space, now_ms, [op]))
    return key


def borrow(cast: Cast, whose: Device) -> SigningKey:
    """A feed of Mal's, as one more device of his, whose D is somebody else's."""
    profile, signing = cast.mal.engine.profile, SigningKey.generate(cast.mal.rng)
    mine, agreement = profile.account.keys, whose.engine.profile.account.keys.agreement.public
    body = certificate_body(
        profile.account.identity,
        signing.public,
        agreement,
        created=int(cast.mal.now),
        generation=profile.directory.generation(profile.account.identity),
        signer=(mine.signing.public, mine.agreement.public),
    )
    certificate = issue(body, counter_sign(body, signing), mine.signing)
    statements = (*profile.directory.encoded(profile.account.identity), certificate.encoded)
    key, prekey = SigningKey.generate(cast.mal.rng), mine.prekey.public
    consent = sign_consent(key, cast.club.id, cast.feed.core, identity=None, device=certificate.device, prekey=prekey)
    op = Admit(key.public, certificate.device, statements, prekey, consent)
    cast.do(lambda space, now_ms: open_epoch(space, now_ms, [op]))
    return key


def claim_everything(cast: Cast, feed: SigningKey) -> None:
    """A record of that feed says that it has opened all there is."""
    space, mal = cast.club, cast.mal
    epoch, now_ms = space.epoch_keys.newest(), int(mal.now * 1000)
    assert epoch is not None
    feeds = sorted((f for f in space.feed_store.feeds.values() if f.length), key=lambda f: f.core)
    heads = tuple(HeadRef(f.core[:8], f.length, f.tree.hash()[:16]) for f in feeds)
    ids = tuple(key[:8] for key in list(space.keys)[-32:])
    prekey = mal.engine.profile.account.keys.prekey.public
    report = Report(now_ms, heads, heads, (), prekey, (mal.rng(32), mal.rng(32)), (), ids)
    sealed = encode_record(seal_record(feed, space.id, epoch.secret, now_ms, report))
    mal.do(lambda engine: space.records.hear(feed.public, now_ms, sealed, now_ms))
