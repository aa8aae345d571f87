"""Offers and answers of groups: invitations appear, and whoever said yes is added.  `docs/protocol.md`, "Groups"."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from crdt.docs.chat import MAX_PAST, OFFER_ID, Answer, Consent, Offer, OfferedFeed
from crdt.docs.own import OwnChat, OwnWriter
from crdt.docs.timeline import GroupTalk
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, Close
from crdt.space.rendezvous import space_id
from sync.account.context import new_writer
from sync.engine.effects import ChatChanged
from sync.engine.profile import Profile
from sync.engine.recovery.returning import comes_back
from sync.engine.talks import group_talks
from sync.engine.tasks.admission import MAX_CONSENTS, retired_writers
from sync.space.epochs import open_epoch
from sync.space.space import Space

MAX_INVITED = 16  # invitations of one contact that wait for an answer


def make_offer(profile: Profile, group: Space, now_ms: int) -> Offer:
    """A new offer of a group of mine, good for one coming-in.  Raises LookupError where this device is not in it."""
    state = group.state
    if state.creator is None or not admitting_feeds(group):
        raise LookupError("this device is not in that group")
    if len(group.graph.tips()) > MAX_PAST:
        open_epoch(group, now_ms)  # one entry that joins them
    past = sorted(tip.hash for tip in group.graph.tips())
    creator = state.members[state.creator].writer
    noted = profile.view.chats.get(group.id)
    old = noted.old if noted is not None else None
    return Offer(group.id, creator, state.title, profile.rng(OFFER_ID), admitting_feeds(group), tuple(past), old=old)


def members_of(space: Space, identity: bytes) -> set[bytes]:
    """Member ids of one person in a space: who came in twice has two."""
    return {member.id for member in space.state.members.values() if member.identity == identity}


def open_offers(profile: Profile, direct: Space, talk: GroupTalk) -> list[Offer]:
    """Offers of others that I have not replied to and that nobody took back, by offer id."""
    me = members_of(direct, profile.account.identity)
    found = [
        offer
        for (member, id_), offer in talk.offers.items()
        if member not in me and (member, id_) not in talk.declined and not talk.replied(me, id_)
    ]
    return sorted(found, key=lambda offer: offer.id)


def answer_offers(profile: Profile, space: Space, connected: Collection[bytes], now_ms: int) -> None:
    """Offers and answers of a direct space: invitations appear, and who said yes is added."""
    mine = space.mine
    if mine is None or mine.core not in space.state.writers:
        return
    me = members_of(space, profile.account.identity)
    for offered, talk in group_talks(profile, space).items():
        group = profile.spaces.get(offered)
        for (member, id_), offer in talk.offers.items():
            if member in me and not talk.is_declined(id_) and group is not None and group.may_write:
                _serve_offer(profile, space, group, talk, offer, connected, now_ms)
            elif member not in me and (member, id_) not in talk.declined:
                for by, answer in talk.answers.get(id_, {}).values():
                    if by in me:
                        answer_again(profile, space, offer, answer, now_ms)
        for offer in open_offers(profile, space, talk):
            _take_offer(profile, space, offer, now_ms)


def _serve_offer(
    profile: Profile,
    space: Space,
    group: Space,
    talk: GroupTalk,
    offer: Offer,
    connected: Collection[bytes],
    now_ms: int,
) -> None:
    """An offer of mine: whoever said yes is added; who has not is asked once more where devices of mine came in."""
    me = members_of(space, profile.account.identity)
    others = sorted({m.identity for m in space.state.members.values() if m.id not in me})
    for identity in others:
        if offer_is_used(group, offer, identity):
            continue
        theirs = members_of(space, identity)
        answers = {id(a): a for by, a in talk.answers.get(offer.id, {}).values() if by in theirs}
        for answer in answers.values():
            let_in(profile, group, identity, answer, offer, connected, now_ms)
        _offer_again(profile, space, group, identity, offer, now_ms)


def offer_is_used(group: Space, offer: Offer, identity: bytes) -> bool:
    """Whether the person came in or was removed since the offer was made, as far as the control graph tells.

    An offer whose past is not whole here is not used yet: what it already knew can't be told from what came later.
    """
    graph, state, past = group.graph, group.state, offer.past
    if any(graph.entry(tip) is None for tip in past):
        return True
    theirs = members_of(group, identity)
    named = set(theirs)
    for id_, place in state.closes:
        entry = graph.entry(id_)
        op = entry.ops[place] if entry is not None else None
        if isinstance(op, Close) and op.member in theirs:
            named.add(id_)
    return any(not any(id_ == tip or graph.precedes(id_, tip) for tip in past) for id_ in named)


def _take_offer(profile: Profile, space: Space, offer: Offer, now_ms: int) -> None:
    """An offer that I have not replied to becomes an invitation; in a chat that I am in, by my own view, it is answered
    at once: whoever offers sees me outside."""
    chat = profile.view.chats.get(offer.space)
    group = profile.spaces.get(offer.space)
    if group is not None and _is_asked_back(profile, group, space, offer):
        _come_back(profile, group, space, offer, now_ms)
        return
    if chat is not None and chat.state == "active":
        if group is not None and _sees_me_outside(profile, group, space, offer):
            profile.write(space, [[answer_to(profile, offer)]], now_ms)
        return
    if not _may_invite(profile, space, offer):
        return
    identity = next(m.identity for m in space.state.members.values() if m.identity != profile.account.identity)
    invited = OwnChat(
        offer.space,
        on=True,
        kind="group",
        state="invited",
        creator=offer.creator,
        title=offer.title,
        peer=identity,
        old=offer.old if _waits_outside(profile, offer.old) else None,
    )
    profile.note(now_ms, invited)
    profile.effects.append(ChatChanged(offer.space))


def _waits_outside(profile: Profile, old: bytes | None) -> bool:
    """Whether that is a group of mine in which no device of mine is: whoever comes back with the words may be let in
    nowhere but where it goes on.  Of any other group nobody says by an offer that it goes on elsewhere."""
    chat = profile.view.chats.get(old) if old is not None else None
    if chat is None or chat.kind != "group" or chat.state != "active":
        return False
    if not comes_back(profile, chat.space):
        return False  # it was joined here, and somebody is going to let this device in
    space = profile.spaces.get(chat.space)
    return space is None or not any(m.identity == profile.account.identity for m in space.state.members.values())


def _is_asked_back(profile: Profile, group: Space, space: Space, offer: Offer) -> bool:
    """Whether the creator of a group made me, an admin, a member: ended my membership and asks me back at once.  Not
    where I left, or where anybody else removed me."""
    chat, mine, state = profile.view.chats.get(offer.space), group.mine, group.state
    if not offer.again or chat is None or chat.kind != "group" or mine is None or state.creator is None:
        return False
    creator = state.members[state.creator].identity
    by_creator = any(m.identity == creator for m in space.state.members.values())
    told = chat.state == "removed" and chat.by == creator
    was_admin = mine.core in state.writers and state.rank(mine.core) == 1
    return by_creator and was_admin and (chat.state == "active" or told) and space.may_write


def _come_back(profile: Profile, group: Space, space: Space, offer: Offer, now_ms: int) -> None:
    """With a new feed: the one so far ended with the membership.  My other devices follow."""
    account = profile.account
    group.found(new_writer(profile.rng))
    profile.write(space, [[answer_to(profile, offer)]], now_ms)
    mine = group.mine
    if mine is None:
        raise ValueError("a feed was just made")
    prekey = account.keys.prekey.public
    asking = OwnWriter(group.id, mine.writer, on=True, device=account.device, prekey=prekey)
    profile.note(now_ms, OwnChat(group.id, state="active"), *retired_writers(profile, group.id), asking)
    profile.effects.append(ChatChanged(group.id))


def admitting_feeds(group: Space) -> tuple[bytes, ...]:
    """W of my devices' open feeds in a group, this device's first: whoever joins consents to each."""
    mine, state = group.mine, group.state
    if mine is None or mine.core not in state.writers:
        return ()
    me = state.writers[mine.core].member
    own = sorted(w.writer for w in state.writers.values() if w.member == me and w.open and w.writer != mine.writer)
    return (mine.writer, *own)[:MAX_CONSENTS]


def _offer_again(profile: Profile, space: Space, group: Space, identity: bytes, offer: Offer, now_ms: int) -> None:
    """An offer names the devices of mine that were in the group when it was made.  The one that made it says it again
    when others came in, so that they can let the newcomer in while this one is off."""
    mine = group.mine
    if mine is None or offer.feeds[:1] != (mine.writer,) or not space.may_write or not may_add(group):
        return
    feeds = admitting_feeds(group)
    if not set(feeds) <= set(offer.feeds):
        profile.write(space, [[replace(offer, feeds=feeds)]], now_ms)


def may_add(group: Space) -> bool:
    """Whether this device is the creator's or an admin's."""
    rank = group.state.rank(group.mine.core) if group.mine is not None else None
    return rank is not None and rank < 2


def answer_to(profile: Profile, offer: Offer) -> Answer:
    """My yes to an offer: a feed of this device, with a consent for each feed that may let it in."""
    account, space = profile.account, profile.space(offer.space)
    key, prekey = profile.own_feed(space), account.keys.prekey.public
    consents = []
    for writer in (offer.feeds or (offer.creator,))[:MAX_CONSENTS]:
        space.members.vouch([core_key(writer)])
        signature = sign_consent(
            key, space.id, core_key(writer), identity=account.identity, device=account.device, prekey=prekey
        )
        consents.append(Consent(writer, signature))
    feed = OfferedFeed(key.public, account.device, prekey, tuple(consents))
    return Answer(space.id, profile.directory.encoded(account.identity, account.device), (feed,), offer.id)


def answer_again(profile: Profile, space: Space, offer: Offer, answer: Answer, now_ms: int) -> None:
    """The offer names more devices than this one consented to, and none of them has let it in yet."""
    group = profile.spaces.get(offer.space)
    mine = group.mine if group is not None else None
    feed = next((f for f in answer.feeds if mine is not None and f.writer == mine.writer), None)
    if group is None or mine is None or feed is None or mine.core in group.state.writers or not space.may_write:
        return
    if not set(offer.feeds) <= {consent.admitting for consent in feed.consents}:
        profile.write(space, [[answer_to(profile, offer)]], now_ms)


def _sees_me_outside(profile: Profile, group: Space, space: Space, offer: Offer) -> bool:
    """Whether an offer of a group that I am in, by my own view, may come of another view: its author could let me in,
    and did not know that I am; or I wait to be let in where a chat of mine goes on.  A contact gets few answers."""
    mine, state = group.mine, group.state
    me, talk = members_of(space, profile.account.identity), group_talks(profile, space)[offer.space]
    given = {id_ for id_, by in talk.answers.items() if any(member in me for member, _ in by.values())}
    if mine is None or not space.may_write or len(given) >= MAX_INVITED:
        return False
    if mine.core not in state.writers:
        return profile.view.chats[group.id].old is not None
    if not group.may_write:
        return False
    theirs = {m.identity for m in space.state.members.values()} - {profile.account.identity}
    if not any(m.identity in theirs and m.rank < 2 and state.active(m.id) for m in state.members.values()):
        return False
    added = state.writers[mine.core].member
    knew = [tip for tip in offer.past if group.graph.entry(tip) is not None]
    return not any(tip == added or group.graph.precedes(added, tip) for tip in knew)


def _may_invite(profile: Profile, space: Space, offer: Offer) -> bool:
    """Whether an offer becomes an invitation: of that creator's space, for a chat that I am not in, from somebody not
    blocked, one of few."""
    chat = profile.view.chats.get(offer.space)
    if (chat is not None and chat.state == "invited") or space_id(core_key(offer.creator)) != offer.space:
        return False
    identity = next((m.identity for m in space.state.members.values() if m.identity != profile.account.identity), None)
    contact = profile.view.contacts.get(identity) if identity is not None else None
    if contact is None or contact.blocked:
        return False
    chats = profile.view.chats.values()
    return sum(chat.state == "invited" and chat.peer == identity for chat in chats) < MAX_INVITED


def let_in(
    profile: Profile,
    group: Space,
    identity: bytes,
    answer: Answer,
    offer: Offer,
    connected: Collection[bytes],
    now_ms: int,
) -> bytes | None:
    """Adds who said yes: the id of the new member, if there is one.  The device that made the offer does it; another
    one of mine if that is not about."""
    mine, state, feeds = group.mine, group.state, offer.feeds
    if mine is None or any(m.identity == identity and state.active(m.id) for m in state.members.values()):
        return None  # in already; a second device of theirs comes in by the first
    if feeds and feeds[0] != mine.writer:
        first = state.writers.get(core_key(feeds[0]))
        if first is not None and first.device in connected:
            return None
    for feed in answer.feeds:
        if core_key(feed.writer) in state.writers:
            return None
        if profile.is_out(identity, feed.device):
            continue
        consent = next((c.signature for c in feed.consents if c.admitting == mine.writer), None)
        if consent is None:
            continue
        add = Add(identity, feed.writer, feed.device, answer.statements, feed.prekey, consent)
        if verify_consent(group.id, mine.core, add) and group.graph.can(mine.core, add):
            return open_epoch(group, now_ms, [add])[1]
    return None
