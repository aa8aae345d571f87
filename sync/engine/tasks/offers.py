"""Offers and answers of groups: invitations appear, and whoever said yes is added.  `docs/protocol.md`, "Groups"."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from crdt.docs.chat import Answer, Consent, Decline, Offer, OfferedFeed
from crdt.docs.facts import ABOUT_OFFERS
from crdt.docs.own import OwnChat
from crdt.docs.timeline import OfferReplies, fold_offers
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add
from crdt.space.rendezvous import space_id
from sync.engine.effects import ChatChanged
from sync.engine.profile import Profile
from sync.engine.tasks.admission import MAX_CONSENTS
from sync.space import timeline
from sync.space.epochs import open_epoch
from sync.space.space import Space

MAX_INVITED = 16  # invitations of one contact that wait for an answer


def group_talks(profile: Profile, space: Space) -> dict[bytes, OfferReplies]:
    """What a direct space says about offered groups, by space id."""
    found: dict[bytes, OfferReplies] = space.facts.remember(
        "offers",
        ABOUT_OFFERS,
        lambda: fold_offers(timeline.facts_of_kind(profile.store, space.id, ABOUT_OFFERS), space.policy()),
    )
    return found


def answer_offers(profile: Profile, space: Space, connected: Collection[bytes], now_ms: int) -> None:
    """Offers and answers of a direct space: invitations appear, and who said yes is added."""
    mine = space.mine
    if mine is None or mine.core not in space.state.writers:
        return
    me = space.state.writers[mine.core].member
    for offered, talk in group_talks(profile, space).items():
        for member, offer in talk.offers.items():
            if member == me:
                reply = next((r for m, r in talk.replies.items() if m != me), None)
                group = profile.spaces.get(offered)
                if group is not None and group.may_write and not isinstance(reply, Decline):
                    identity = next(m.identity for m in space.state.members.values() if m.id != me)
                    if isinstance(reply, Answer):
                        _add(profile, group, identity, reply, offer.feeds, connected, now_ms)
                    _offer_again(profile, space, group, identity, offer, now_ms)
            elif isinstance(answer := talk.replies.get(me), Answer):
                _answer_again(profile, space, offer, answer, now_ms)
            elif _may_invite(profile, space, member, offered, offer):
                identity = space.state.members[member].identity
                profile.note(
                    now_ms,
                    OwnChat(
                        offered,
                        on=True,
                        kind="group",
                        state="invited",
                        creator=offer.creator,
                        title=offer.title,
                        peer=identity,
                    ),
                )
                profile.effects.append(ChatChanged(offered))


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
    mine, state = group.mine, group.state
    if mine is None or offer.feeds[:1] != (mine.writer,) or not space.may_write or not may_add(group):
        return
    if any(m.identity == identity and state.active(m.id) for m in state.members.values()):
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
    return Answer(space.id, profile.directory.encoded(account.identity), (feed,))


def _answer_again(profile: Profile, space: Space, offer: Offer, answer: Answer, now_ms: int) -> None:
    """The offer names more devices than this one consented to, and none of them has let it in yet."""
    group = profile.spaces.get(offer.space)
    mine = group.mine if group is not None else None
    feed = next((f for f in answer.feeds if mine is not None and f.writer == mine.writer), None)
    if group is None or mine is None or feed is None or mine.core in group.state.writers or not space.may_write:
        return
    if not set(offer.feeds) <= {consent.admitting for consent in feed.consents}:
        profile.write(space, [[answer_to(profile, offer)]], now_ms)


def _may_invite(profile: Profile, space: Space, member: bytes, offered: bytes, offer: Offer) -> bool:
    """Whether an offer becomes an invitation: of that creator's space, new, from somebody not blocked, one of few."""
    if offered in profile.view.chats or space_id(core_key(offer.creator)) != offered:
        return False
    identity = space.state.members[member].identity
    contact = profile.view.contacts.get(identity)
    if contact is None or contact.blocked:
        return False
    chats = profile.view.chats.values()
    return sum(chat.state == "invited" and chat.peer == identity for chat in chats) < MAX_INVITED


def _add(
    profile: Profile,
    group: Space,
    identity: bytes,
    answer: Answer,
    feeds: tuple[bytes, ...],
    connected: Collection[bytes],
    now_ms: int,
) -> None:
    """Adds who said yes.  The device that made the offer does it; another one of mine if that is not about."""
    mine, state = group.mine, group.state
    if mine is None or any(m.identity == identity and state.active(m.id) for m in state.members.values()):
        return  # in already; a second device of theirs comes in by the first
    if feeds and feeds[0] != mine.writer:
        first = state.writers.get(core_key(feeds[0]))
        if first is not None and first.device in connected:
            return
    for feed in answer.feeds:
        if core_key(feed.writer) in state.writers:
            return
        consent = next((c.signature for c in feed.consents if c.admitting == mine.writer), None)
        if consent is None:
            continue
        add = Add(identity, feed.writer, feed.device, answer.statements, feed.prekey, consent)
        if verify_consent(group.id, mine.core, add) and group.graph.can(mine.core, add):
            open_epoch(group, now_ms, [add])
            return
