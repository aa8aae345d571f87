"""Duties: what a device writes unasked, because of what it learned.

New devices of mine are brought into my chats, people who said yes into the groups they were offered, block 0 of a feed
opens an epoch, and what closes or revocations call for is answered.  Each duty looks at the state alone, so it is done
once whatever the order of arrival, and again after a crash before its commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from crdt.docs.chat import Answer, Consent, Decline, MemberProfile, Offer, OfferedFeed, Receipt
from crdt.docs.facts import ABOUT_OFFERS, ABOUT_PROFILES, ABOUT_READING
from crdt.docs.ids import writer_id
from crdt.docs.own import OwnChat, OwnContact, OwnWriter
from crdt.docs.rows import above
from crdt.docs.timeline import OfferReplies, fold_offers, fold_profiles, fold_receipt_stamps, fold_receipts
from crdt.log.manifest import core_key
from crdt.log.stamp import stamp_ms
from crdt.space import moves
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, Admit, Close, FeedEnd, Revoke, SpaceKind
from crdt.space.lineage import End
from crdt.space.rendezvous import space_id
from sync.engine.effects import ChatChanged, ContactChanged
from sync.engine.profile import Profile as Home
from sync.space import timeline
from sync.space.epochs import open_epoch, write_control
from sync.space.space import Space

MAX_INVITED = 16  # invitations of one contact that wait for an answer
MAX_CONSENTS = 6  # as many as one value holds: one for each device
RECEIPT_ROWS = 1000  # that one receipt looks back over
RECEIPT_PAGE = 50  # of them at a time
RECEIPT_GAP_MS = 60_000  # between two receipts of one member in one chat


def own_devices(profile: Home, now_ms: int) -> None:
    """Chats that another device of mine is in: this one asks to be admitted, and admits those that ask."""
    for id_, chat in profile.view.chats.items():
        if chat.state != "active" or not ready(profile.personal):
            continue
        waiting = profile.view.waiting_writers(id_)
        if not admitted(profile, id_) and _unasked(profile, id_, waiting):
            _ask_admission(profile, chat, waiting, now_ms)
        space = profile.spaces.get(id_)
        if space is not None and ready(space):
            _admit_own(profile, space, waiting, now_ms)


def admitted(profile: Home, id_: bytes) -> bool:
    """Whether a feed of this device is a writer there."""
    space = profile.spaces.get(id_)
    return space is not None and space.mine is not None and space.mine.core in space.state.writers


def _unasked(profile: Home, id_: bytes, waiting: list[OwnWriter]) -> bool:
    """Whether another device of mine has a feed there that has no consent of this one yet: any of them may be the
    one that is let in first."""
    space, account = profile.spaces.get(id_), profile.account
    mine = space.mine.writer if space is not None and space.mine is not None else None
    asked = next((w for w in waiting if w.writer == mine), None)
    have = {consent.admitting for consent in asked.consents} if asked is not None else set()
    return any(other.writer not in have for other in _others(waiting, account.device))


def _others(waiting: list[OwnWriter], device: bytes) -> list[OwnWriter]:
    return [w for w in waiting if w.device != device][:MAX_CONSENTS]


def ready(space: Space) -> bool:
    """Whether this device is an open writer there and may write."""
    mine = space.mine
    return mine is not None and space.state.open(mine.core)


def _ask_admission(profile: Home, chat: OwnChat, waiting: list[OwnWriter], now_ms: int) -> None:
    """A feed for this device, with a consent for each feed of mine that may admit it."""
    account = profile.account
    space = profile.space(chat.space)
    key = profile.own_feed(space)
    if chat.rendezvous is not None and space.z is None:
        space.epoch_keys.set_z(chat.rendezvous)
    prekey = account.keys.prekey.public
    consents = []
    for other in _others(waiting, account.device):
        space.members.vouch([core_key(other.writer)])
        signature = sign_consent(
            key, space.id, core_key(other.writer), identity=None, device=account.device, prekey=prekey
        )
        consents.append(Consent(other.writer, signature))
    profile.touch(space)
    profile.note(
        now_ms,
        OwnWriter(space.id, key.public, on=True, device=account.device, prekey=prekey, consents=tuple(consents)),
    )


def _admit_own(profile: Home, space: Space, waiting: list[OwnWriter], now_ms: int) -> None:
    mine, account = space.mine, profile.account
    if mine is None:
        return
    for asking in waiting:
        if asking.device is None or asking.prekey is None or asking.device == account.device:
            continue
        if core_key(asking.writer) in space.state.writers or not profile.directory.is_active(asking.device):
            continue
        consent = next((c.signature for c in asking.consents if c.admitting == mine.writer), None)
        if consent is None:
            continue
        statements = profile.directory.encoded(account.identity)
        admit = Admit(asking.writer, asking.device, statements, asking.prekey, consent)
        if verify_consent(space.id, mine.core, admit) and space.graph.can(mine.core, admit):
            open_epoch(space, now_ms, [admit], recovery=profile.recovery)
            profile.touch(space)


def first_entry(profile: Home, space: Space, now_ms: int) -> None:
    """Block 0 of a feed opens an epoch: opening it proves to each device, deniably, whose writer this is."""
    mine = space.mine
    if mine is None or mine.length or not ready(space) or space.members.missing_cores:
        return
    open_epoch(space, now_ms, recovery=profile.recovery)
    profile.touch(space)


def turn_to_open(space: Space) -> int | None:
    """Which of the open writers this device is, from 0 by core key, where no epoch holds the whole roster; else None.

    Devices that came in while apart open one each, without the other.  Nothing is lost by that, since what one of them
    cannot open comes as items; but device records do not, so somebody opens an epoch for all: decision 0073.
    """
    mine, state = space.mine, space.state
    if mine is None or not mine.length or not ready(space) or space.members.missing_cores or len(state.roster) < 2:
        return None
    if any(e.roster == state.roster and e.covers and not e.superseded for e in state.epochs.values()):
        return None
    return sorted(w.core for w in state.writers.values() if w.open).index(mine.core)


def common_epoch(profile: Home, space: Space, now_ms: int) -> None:
    """Opens it, if nobody has meanwhile."""
    if turn_to_open(space) is not None:
        open_epoch(space, now_ms, recovery=profile.recovery)
        profile.touch(space)


def owed(profile: Home, space: Space, now_ms: int) -> None:
    """Witnesses, revocations and the closes that follow them."""
    mine, state = space.mine, space.state
    if mine is None or not ready(space):
        return
    fallen = any(core not in state.writers for core in space.feed_store.feeds)
    revoked = _revoked(profile, space)
    if not (state.ends or fallen or revoked):
        return
    opened, frontiers = [], {}
    for core, feed in space.feed_store.feeds.items():
        if feed.length:
            frontiers[core] = End(feed.length, feed.tree.hash())
        root = space.feed_store.root_at(feed, feed.opened) if feed.opened else None
        if root is not None and core != mine.core:
            opened.append(FeedEnd(feed.writer, feed.opened, root))
    ops = moves.obligations(space.graph, mine.core, opened=opened, frontiers=frontiers, revoked=revoked)
    if not ops:
        return
    if any(isinstance(op, Revoke | Close) for op in ops):
        open_epoch(space, now_ms, ops, recovery=profile.recovery)
    else:
        write_control(space, ops, now_ms)
    profile.touch(space)


def _revoked(profile: Home, space: Space) -> dict[bytes, tuple[bytes, ...]]:
    """Rostered devices that the statements known here show as revoked."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for identity in sorted({member.identity for member in space.state.members.values()}):
        revoked = profile.directory.revoked(identity)
        for device in sorted(revoked & space.devices().keys()) if revoked else ():
            statements = profile.directory.revocation(identity, device)
            found[device] = tuple(statement.encoded for statement in statements)
    return found


def talks_of(profile: Home, space: Space) -> dict[bytes, OfferReplies]:
    """What a direct space says about offered groups, by space id."""
    found: dict[bytes, OfferReplies] = space.facts.remember(
        "offers",
        ABOUT_OFFERS,
        lambda: fold_offers(timeline.facts_of_kind(profile.store, space.id, ABOUT_OFFERS), space.rights()),
    )
    return found


def offers(profile: Home, space: Space, connected: Collection[bytes], now_ms: int) -> None:
    """Offers and answers of a direct space: invitations appear, and who said yes is added."""
    mine = space.mine
    if mine is None or mine.core not in space.state.writers:
        return
    me = space.state.writers[mine.core].member
    for offered, talk in talks_of(profile, space).items():
        for member, offer in talk.offers.items():
            if member == me:
                reply = next((r for m, r in talk.replies.items() if m != me), None)
                group = profile.spaces.get(offered)
                if group is not None and ready(group) and not isinstance(reply, Decline):
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


def _offer_again(profile: Home, space: Space, group: Space, identity: bytes, offer: Offer, now_ms: int) -> None:
    """An offer names the devices of mine that were in the group when it was made.  The one that made it says it again
    when others came in, so that they can let the newcomer in while this one is off."""
    mine, state = group.mine, group.state
    if mine is None or offer.feeds[:1] != (mine.writer,) or not ready(space) or not may_add(group):
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


def answer_to(profile: Home, offer: Offer) -> Answer:
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
    profile.touch(space)
    feed = OfferedFeed(key.public, account.device, prekey, tuple(consents))
    return Answer(space.id, profile.directory.encoded(account.identity), (feed,))


def _answer_again(profile: Home, space: Space, offer: Offer, answer: Answer, now_ms: int) -> None:
    """The offer names more devices than this one consented to, and none of them has let it in yet."""
    group = profile.spaces.get(offer.space)
    mine = group.mine if group is not None else None
    feed = next((f for f in answer.feeds if mine is not None and f.writer == mine.writer), None)
    if group is None or mine is None or feed is None or mine.core in group.state.writers or not ready(space):
        return
    if not set(offer.feeds) <= {consent.admitting for consent in feed.consents}:
        profile.write(space, [[answer_to(profile, offer)]], now_ms)


def _may_invite(profile: Home, space: Space, member: bytes, offered: bytes, offer: Offer) -> bool:
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
    profile: Home,
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
            profile.touch(group)
            return


def profiles(profile: Home, space: Space, now_ms: int) -> None:
    """My profile stands in every chat with others; theirs is noted with my contacts."""
    mine = space.mine
    if mine is None or not ready(space) or not mine.length or space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF):
        return
    facts = timeline.facts_of_kind(profile.store, space.id, ABOUT_PROFILES)
    known = fold_profiles(facts, space.rights())
    state, own = space.state, profile.view.profile
    me = state.writers[mine.core].member
    want = MemberProfile(own.name or "", own.about or None)
    if own.name and known.get(me) != want:
        profile.write(space, [[want]], now_ms)
    if space.kind is SpaceKind.DIRECT:
        for member, told in known.items():
            identity = state.members[member].identity
            contact = profile.view.contacts.get(identity)
            if member != me and contact is not None and contact.profile != told.name:
                profile.note(now_ms, OwnContact(identity, profile=told.name))
                profile.effects.append(ContactChanged(identity))


def receipt(profile: Home, space: Space, now_ms: int) -> None:
    """Tells the others how far I have read, if there is anything to tell."""
    news = _untold(profile, space)
    if news:
        profile.write(space, [[Receipt(news[:1024])]], now_ms)


def receipt_due(profile: Home, space: Space, now_ms: int) -> int | None:
    """Unix ms from when the others are to be told how far I have read; None where they know, or another device of mine
    set the mark and tells them.  Follows from the store alone: my mark, and my member's last receipt with its stamp."""
    mine, me = space.mine, profile.personal.mine
    if mine is None or me is None or profile.view.markers.get(space.id) != me.core or not _untold(profile, space):
        return None
    last = reading_of(space).stamps.get(space.state.writers[mine.core].member)
    return now_ms if last is None else min(stamp_ms(last), now_ms) + RECEIPT_GAP_MS


def _untold(profile: Home, space: Space) -> tuple[tuple[str, int], ...]:
    """(writer id, highest seq) of others' messages at or below my read mark that no receipt of my member tells of."""
    mine, held = space.mine, profile.view.marks.get(space.id)
    if mine is None or held is None or space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF):
        return ()
    if not space.state.open(mine.core):
        return ()
    me = space.state.writers[mine.core].member
    told = receipts_of(space).get(me, {})
    # The first row of a writer from the mark down is its highest; who has nothing new need not be met.
    ahead = {writer_id(w.core) for w in space.state.writers.values() if w.member != me and _wrote(space, w.core, told)}
    found: list[tuple[str, int]] = []
    before = above(held.upto)
    for _ in range(0, RECEIPT_ROWS, RECEIPT_PAGE):
        rows = timeline.page(profile.store, space.id, RECEIPT_PAGE, before=before) if ahead else []
        for row in reversed(rows):
            name = writer_id(row.core)
            if name in ahead:
                ahead.discard(name)
                if row.seq > told.get(name, -1):
                    found.append((name, row.seq))
        if len(rows) < RECEIPT_PAGE:
            break
        before = rows[0].key()
    return tuple(sorted(found))


def _wrote(space: Space, core: bytes, told: Mapping[str, int]) -> bool:
    feed = space.feed_store.feeds.get(core)
    return feed is not None and feed.length > told.get(writer_id(core), -1) + 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What the receipts in a space say.  upto: member id -> writer id -> highest seq read; stamps: of the last ones."""

    upto: Mapping[bytes, Mapping[str, int]]
    stamps: Mapping[bytes, int]


def reading_of(space: Space) -> Reading:
    """Kept until another receipt comes."""

    def fold() -> Reading:
        facts, rights = timeline.facts_of_kind(space.context.store, space.id, ABOUT_READING), space.rights()
        return Reading(fold_receipts(facts, rights), fold_receipt_stamps(facts, rights))

    found: Reading = space.facts.remember("receipts", ABOUT_READING, fold)
    return found


def receipts_of(space: Space) -> Mapping[bytes, Mapping[str, int]]:
    """member id -> writer id -> highest seq read."""
    return {} if space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF) else reading_of(space).upto
