"""Chats: the list, making, joining, leaving, and what creators and admins do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crdt.docs.chat import MAX_RECEIPT, Decline, Offer
from crdt.docs.ids import writer_id
from crdt.docs.own import Hidden, OwnChat, OwnDraft, OwnWriter
from crdt.docs.rows import Row, at_moment
from crdt.space import moves
from crdt.space.control import MAX_MEMBERS, Admin, Op, Set, SpaceKind
from crdt.space.demotion import demote
from crdt.space.lineage import End
from crdt.space.view import ADMIN, CREATOR
from identity.errors import KithkinError
from sync.account.context import new_writer
from sync.engine.profile import Profile
from sync.engine.talks import group_talks
from sync.engine.tasks.admission import retired_writers
from sync.engine.tasks.offers import answer_to, make_offer, members_of, offer_is_used, open_offers
from sync.engine.twins import current, listed_id, rows, stands_first, twin_ids, twins_of
from sync.service import cover, messages, models
from sync.service.domain import Domain, commits
from sync.service.ids import chat_id, find_chat, find_contact, find_participant, find_space, identity_id
from sync.service.messages import shown, writable
from sync.service.names import author_of_row, chat_title, member_speaks, person_name, speaks, vouched_name
from sync.service.restarts import answer_restart, awaited, is_restart, notice_of, refuse_restart
from sync.service.text import check_name
from sync.service.times import exact_lifetime, moment
from sync.space import timeline
from sync.space.epochs import ensure_key, found_space, open_epoch, write_control
from sync.space.space import Space

ROLES: tuple[models.Role, ...] = ("creator", "admin", "member")
PREVIEW = 200
LAST = 20  # rows looked at in one go for the last message of a chat


class ChatCalls(Domain):
    """The calls about chats and groups."""

    async def chats(self) -> models.Chats:
        profile, now_ms = self._profile, self._now_ms
        listed = [model(profile, id_, now_ms) for id_ in profile.view.chats if is_listed(profile, id_)]
        listed.sort(key=lambda chat: chat.title)
        listed.sort(key=lambda chat: chat.last_order, reverse=True)  # where its last message stands, not what it quotes
        return models.Chats(chats=listed)

    @commits
    def chat_new(self, title: str, contacts: Sequence[str] = ()) -> models.ChatRef:
        profile, now_ms = self._profile, self._now_ms
        title = check_name(title)
        people = [find_contact(profile, contact) for contact in dict.fromkeys(contacts)]
        if len(people) + 1 > MAX_MEMBERS:
            raise KithkinError("too_many_members", f"A group holds at most {MAX_MEMBERS} people.")
        for identity in people:
            _reachable(profile, identity)
        space = found_space(profile.context, SpaceKind.GROUP, title, now_ms, key=new_writer(profile.rng))
        profile.keep(space)
        mine = space.mine
        if mine is None:
            raise ValueError("a new space has a feed of its maker")
        _note_own(profile, space, now_ms, OwnChat(space.id, on=True, kind="group", state="active", title=title))
        for identity in people:
            _offer(profile, space, identity, now_ms)
        return _ref(space.id)

    @commits
    def chat_join(self, chat: str) -> models.ChatRef:
        profile, now_ms = self._profile, self._now_ms
        id_ = find_chat(profile, chat)
        known = profile.view.chats[id_]
        if known.state == "active":
            return _ref(id_)
        if known.state == "invited" and is_restart(profile, known):
            answer_restart(profile, known, self._now_ms)
            return _ref(listed_id(profile, id_))
        direct, offers = _offers(profile, id_)
        if profile.space(id_).mine is not None:
            profile.space(id_).found(new_writer(profile.rng))  # whoever comes back writes a new feed
        profile.write(direct, [[answer_to(profile, offers[0])]], now_ms)
        joined = OwnChat(id_, on=True, kind="group", state="active", creator=offers[0].creator)
        _note_own(profile, profile.space(id_), now_ms, joined)
        return _ref(listed_id(profile, id_))

    @commits
    def chat_decline(self, chat: str) -> models.ChatRef:
        profile, now_ms = self._profile, self._now_ms
        id_ = find_chat(profile, chat)
        if profile.view.chats[id_].state != "invited":
            raise KithkinError("not_allowed", "You are not invited to that chat.")
        if is_restart(profile, profile.view.chats[id_]):
            refuse_restart(profile, profile.view.chats[id_], now_ms)
            return _ref(id_)
        direct, offers = _offers(profile, id_)
        profile.write(direct, [[Decline(id_, offer.id)] for offer in offers], now_ms)
        before = profile.spaces.get(id_)
        was_in = before is not None and before.mine is not None and bool(before.mine.length)
        profile.note(now_ms, OwnChat(id_, state="left" if was_in else "declined"))
        return _ref(id_)

    @commits
    def chat_leave(self, chat: str) -> models.ChatRef:
        """Ends all my feeds in a group, in those that it went on from as well."""
        profile, now_ms = self._profile, self._now_ms
        space = _group(profile, chat)
        for twin in twins_of(profile, space):
            mine = twin.mine
            if mine is None or not twin.may_write:
                continue
            frontiers = _frontiers(twin)
            ensure_key(twin, now_ms)
            frontiers[mine.core] = End(mine.length, mine.tree.hash())
            write_control(twin, moves.leave(twin.graph, mine.core, frontiers), now_ms)
            profile.note(now_ms, OwnChat(twin.id, state="left"), *retired_writers(profile, twin.id))
        return _ref(listed_id(profile, space.id))

    @commits
    def chat_rename(self, chat: str, title: str) -> models.ChatRef:
        op = Set("title", check_name(title).encode())
        return self._control(_group(self._profile, chat), op, "Only the creator and admins rename a chat.")

    async def chat_members(self, chat: str) -> models.Members:
        return members(self._profile, chat)

    @commits
    def chat_add(self, chat: str, contact: str) -> models.ChatRef:
        profile = self._profile
        space = _group(profile, chat)
        identity = find_contact(profile, contact)
        mine = space.mine
        if mine is None or (space.state.rank(mine.core) or 0) > 1:
            raise KithkinError("not_allowed", "Only the creator and admins add people.")
        present = space.state.people()
        if identity in present:
            raise KithkinError("not_allowed", "That contact is in the chat already.")
        if len(present) >= MAX_MEMBERS:
            raise KithkinError("too_many_members", f"A group holds at most {MAX_MEMBERS} people.")
        _offer(profile, space, identity, self._now_ms)
        return _ref(listed_id(profile, space.id))

    @commits
    def chat_admin(self, chat: str, contact: str) -> models.ChatRef:
        profile = self._profile
        space = _group(profile, chat)
        identity = find_participant(profile, space, contact)
        found = space.state.people().get(identity)
        if not found:
            raise KithkinError("not_found", "That person is not in the chat any more.")
        return self._control(space, Admin(found[0].id), "Only the creator makes admins.")

    @commits
    def chat_demote(self, chat: str, contact: str) -> models.ChatRef:
        """Ends an admin's membership and asks their devices back, which come by themselves: ranks are never lowered."""
        profile, now_ms = self._profile, self._now_ms
        space = _group(profile, chat)
        identity, mine, state = find_participant(profile, space, contact), space.mine, space.state
        found = state.people().get(identity)
        if not found:
            raise KithkinError("not_found", "That person is not in the chat any more.")
        if mine is None or state.rank(mine.core) != CREATOR:
            raise KithkinError("not_allowed", "Only the creator makes an admin a member again.")
        if found[0].rank != ADMIN:
            raise KithkinError("not_allowed", "That person is no admin.")
        if identity not in profile.view.contacts:
            raise KithkinError(
                "not_allowed", "You have no chat with that person, so they can't be asked back; remove them instead."
            )
        _reachable(profile, identity)
        open_epoch(space, now_ms, demote(space.graph, identity, _frontiers(space)))
        _offer(profile, space, identity, now_ms, again=True)
        return _ref(listed_id(profile, space.id))

    @commits
    def chat_remove(self, chat: str, contact: str) -> models.ChatRef:
        """Ends every feed of a person in a group, under a new epoch that the person gets no key of."""
        profile, now_ms = self._profile, self._now_ms
        space = _group(profile, chat)
        identity, mine, state = find_participant(profile, space, contact), space.mine, space.state
        if identity == profile.account.identity:
            raise KithkinError("not_allowed", "You can't remove yourself; leave the chat instead.")
        present = [m.id for m in state.people().get(identity, ())]
        if not present and _withdraw(profile, space, identity, now_ms):
            return _ref(listed_id(profile, space.id))
        if not present:
            raise KithkinError("not_found", "That person is not in the chat any more.")
        frontiers = _frontiers(space)
        ops = [close for member in present for close in moves.remove(space.graph, member, frontiers)]
        if mine is None or not all(space.graph.can(mine.core, op) for op in ops):
            raise KithkinError("not_allowed", _why_not_removed(space, present))
        open_epoch(space, now_ms, ops)
        for twin in twins_of(profile, space):
            if twin is not space:
                _remove_before(twin, identity, now_ms)
        return _ref(listed_id(profile, space.id))

    @commits
    def chat_set(self, chat: str, key: str, value: str) -> models.ChatRef:
        if key == "history" and value in ("all", "none"):
            stored = value
        elif key == "lifetime" and (seconds := exact_lifetime(value)) is not None:
            stored = str(seconds)
        else:
            raise KithkinError("usage", "Settings are `history all`, `history none` and `lifetime SECONDS`.")
        space = find_space(self._profile, chat)
        refusal = "Only the creator and admins change settings."
        if space.kind is SpaceKind.PERSONAL:
            raise KithkinError("not_allowed", refusal)
        return self._control(space, Set(key, stored.encode()), refusal)

    @commits
    def delete_chat(self, chat: str) -> models.ChatRef:
        """Deletes everything so far from my devices: of each feed all up to its last message that is here."""
        id_ = find_chat(self._profile, chat)
        for twin in twin_ids(self._profile, id_):
            self._clear(twin)
        return _ref(id_)

    def _clear(self, id_: bytes) -> None:
        profile = self._profile
        space = profile.spaces.get(id_)
        held = profile.view.cleared.get(id_, {})
        upto: list[tuple[str, int]] = []
        store = space.feed_store if space is not None else None
        feeds = {core: feed.number for core, feed in store.feeds.items()} if store is not None else {}
        if store is not None:
            feeds.update((name, offshoot.number) for name, offshoot in store.offshoots.by_name.items())
        for core, number in feeds.items():
            rows = timeline.rows_of_feed(profile.store, number, limit=1, newest=True)
            # Of a chat without any message block 0 is named, which is none: it leaves the list like the others.
            mine = store is not None and core in store.feeds and store.feeds[core].mine
            last = rows[0].seq if rows else 0 if mine else -1
            if last > held.get(writer_id(core), -1):
                upto.append((writer_id(core), last))
        upto.sort()
        pieces = [tuple(upto[at : at + MAX_RECEIPT]) for at in range(0, len(upto), MAX_RECEIPT)]
        drafts = [OwnDraft(id_, text="")] if id_ in profile.view.drafts else []
        profile.note(self._now_ms, *(Hidden(id_, upto=piece) for piece in pieces), *drafts)

    def _control(self, space: Space, op: Op, refusal: str) -> models.ChatRef:
        """Writes one control operation if this device may, else raises `not_allowed` with that sentence."""
        mine = space.mine
        if mine is None or not space.graph.can(mine.core, op):
            raise KithkinError("not_allowed", refusal)
        write_control(space, [op], self._now_ms)
        return _ref(listed_id(self._profile, space.id))


def _remove_before(old: Space, identity: bytes, now_ms: int) -> None:
    """Ends a person's feeds in a group that was restarted, too, where this device may: what they write there would show
    in the chat all the same."""
    mine, members = old.mine, old.state.people().get(identity, ())
    if mine is None or not members or not old.may_write:
        return
    frontiers = _frontiers(old)
    ops = [close for member in members for close in moves.remove(old.graph, member.id, frontiers)]
    if all(old.graph.can(mine.core, op) for op in ops):
        open_epoch(old, now_ms, ops)


def _frontiers(space: Space) -> dict[bytes, End]:
    """Core key -> the longest end of each feed that is here."""
    return {core: End(f.length, f.tree.hash()) for core, f in space.feed_store.feeds.items() if f.length}


def _why_not_removed(space: Space, members: Sequence[bytes]) -> str:
    state, mine = space.state, space.mine
    rank = state.rank(mine.core) if mine is not None else None
    if rank is None or rank > 1:
        return "Only the creator and admins remove people."
    if state.creator in members:
        return "The creator of a group can't be removed."
    return "Only the creator removes admins."


def _ref(id_: bytes) -> models.ChatRef:
    return models.ChatRef(chat=chat_id(id_))


def is_listed(profile: Profile, id_: bytes) -> bool:
    """Whether a chat stands in the list: not declined, not deleted, not the second of two with one person."""
    chat = profile.view.chats[id_]
    if chat.state == "declined":
        return False
    if id_ != listed_id(profile, id_):
        return False
    if chat.kind == "self":
        return True
    return any(_has_more(profile, twin) for twin in twin_ids(profile, id_))


def _has_more(profile: Profile, id_: bytes) -> bool:
    """Whether a space was never cleared, or holds a message from after that."""
    cleared, space = profile.view.cleared.get(id_), profile.spaces.get(id_)
    if cleared is None:
        return True
    return space is not None and any(
        timeline.rows_of_feed(profile.store, feed.number, cleared.get(writer_id(core), -1) + 1, limit=1)
        for core, feed in space.feed_store.feeds.items()
    )


def model(profile: Profile, id_: bytes, now_ms: int) -> models.Chat:
    """A chat as the list shows it."""
    chat, space = profile.view.chats[id_], profile.spaces.get(id_)
    if space is not None:
        space = current(profile, space)
    kind: models.ChatKind = "self" if chat.kind == "self" else "direct" if chat.kind == "direct" else "group"
    where, last = _last(profile, space) if space is not None else (space, None)
    at = None if last is None else at_moment(last, now_ms)
    author = author_of_row(profile, where, at) if where is not None and at is not None else None
    open_to = cover.of_chat(space) if space is not None else ()
    notice, may_restart = notice_of(profile, chat, space)
    return models.Chat(
        id=chat_id(id_),
        title=chat_title(profile, space.id if space is not None else id_),
        kind=kind,
        state=state_of(profile, space.id if space is not None else id_),
        members=len(space.state.people()) if space is not None else 0,
        unread=messages.unread(profile, space) if space is not None else 0,
        last=moment(messages.time_of(at)) if at is not None else None,
        preview=at.text[:PREVIEW] if at is not None else "",
        preview_author=author.name if author is not None else "",
        preview_proved=author.proved if author is not None else True,
        last_order=messages.order(last) if last is not None else "",
        covered=not open_to,
        reason=cover.sentence(profile, space, open_to) if space is not None else "",
        notice=notice,
        may_restart=may_restart,
        old=chat_id(listed_id(profile, chat.old)) if chat.old is not None and chat.state == "invited" else None,
    )


def _last(profile: Profile, space: Space) -> tuple[Space, Row | None]:
    before: bytes | None = None
    twins = twins_of(profile, space)
    while True:
        found = rows(profile, twins, LAST, before=before)
        for twin, row in reversed(found):
            if shown(profile, twin, row) and (len(twins) == 1 or stands_first(profile, twins, twin, row)):
                return twin, row
        if len(found) < LAST or not is_listed(profile, listed_id(profile, space.id)):
            return space, None
        before = found[0][1].key()


def state_of(profile: Profile, id_: bytes) -> models.ChatState:
    """What this profile is to a chat: what my devices noted, else what the space's members say."""
    chat, space = profile.view.chats[id_], profile.spaces.get(id_)
    if chat.state in ("left", "invited", "removed"):
        return "left" if chat.state == "left" else "invited" if chat.state == "invited" else "removed"
    if space is not None and space.mine is not None and space.mine.core not in space.state.writers:
        return "active"  # on the way in, for the first time or again
    if space is not None and space.state.creator is not None:
        mine = [m.id for m in space.state.members.values() if m.identity == profile.account.identity]
        if mine and not any(space.state.active(member) for member in mine):
            return "removed"
    return "active"


def _note_own(profile: Profile, space: Space, now_ms: int, chat: OwnChat) -> None:
    """The chat and my feed in it, for my other devices."""
    mine, account = space.mine, profile.account
    values: list[OwnChat | OwnWriter] = [chat]
    if mine is not None:
        values.append(
            OwnWriter(space.id, mine.writer, on=True, device=account.device, prekey=account.keys.prekey.public)
        )
    if space.z is not None:
        values.append(OwnChat(space.id, rendezvous=space.z))
    profile.note(now_ms, *values)


def _reachable(profile: Profile, identity: bytes) -> Space:
    """The direct space with a contact, through which offers go."""
    contact = profile.view.contacts[identity]
    if contact.blocked:
        raise KithkinError("not_allowed", "You have blocked that contact.")
    direct = profile.spaces.get(contact.space) if contact.space is not None else None
    if direct is None:
        raise KithkinError("not_allowed", "This device has no chat with that contact yet.")
    return writable(profile, direct)


def _offer(profile: Profile, space: Space, identity: bytes, now_ms: int, *, again: bool = False) -> None:
    direct = _reachable(profile, identity)
    try:
        offer = replace(make_offer(profile, space, now_ms), again=again)
    except LookupError:
        raise KithkinError("not_allowed", "This device is not in that chat yet.") from None
    profile.write(direct, [[offer]], now_ms)


def _withdraw(profile: Profile, space: Space, identity: bytes, now_ms: int) -> bool:
    """Takes back what I offered a contact and was not answered yet; whether there was anything."""
    direct, offers = _waiting_offers(profile, space, identity)
    if direct is None or not offers:
        return False
    profile.write(direct, [[Decline(space.id, offer.id)] for offer in offers], now_ms)
    return True


def _waiting_offers(profile: Profile, space: Space, identity: bytes) -> tuple[Space | None, list[Offer]]:
    """Offers of a group that a contact may still answer, and the direct space in which I made them."""
    contact = profile.view.contacts.get(identity)
    direct = profile.spaces.get(contact.space) if contact is not None and contact.space is not None else None
    talk = group_talks(profile, direct).get(space.id) if direct is not None else None
    if direct is None or talk is None:
        return direct, []
    me = members_of(direct, profile.account.identity)
    offers = [
        offer
        for (member, id_), offer in talk.offers.items()
        if member in me and not talk.is_declined(id_) and not offer_is_used(space, offer, identity)
    ]
    return direct, offers


def _offers(profile: Profile, offered: bytes) -> tuple[Space, list[Offer]]:
    """The direct space in which a group is offered to me, and the offers there that wait for a reply."""
    for chat in profile.view.chats.values():
        space = profile.spaces.get(chat.space)
        if chat.kind == "direct" and space is not None:
            talk = group_talks(profile, space).get(offered)
            offers = open_offers(profile, space, talk) if talk is not None else []
            if offers:
                return writable(profile, space), offers
    raise KithkinError("not_allowed", "Nobody offers you that chat any more.")


def members(profile: Profile, chat: str) -> models.Members:
    """Who is, was and is invited to be in a chat: by rank, each person once."""
    space = find_space(profile, chat)
    state, open_to = space.state, cover.of_chat(space)
    behind = {writer.member for writer in state.writers.values() if writer.device in open_to}
    uncovered = {state.members[member].identity for member in behind}
    listed: dict[bytes, models.Member] = {}
    for member in sorted(state.members.values(), key=lambda m: (m.rank, m.id)):
        active = state.active(member.id)
        own = any(
            state.writers[by].member == member.id
            for w in state.writers.values()
            if w.member == member.id
            for by in state.closers.get(w.core, ())
            if by in state.writers
        )
        member_state: models.MemberState = "active" if active else "left" if own else "removed"
        proved, known = member_speaks(profile, space, member.id), listed.get(member.identity)
        name = person_name(profile, member.identity, space)
        if not proved:
            name = vouched_name(profile, space, _unproved(profile, space, member.id))
        if known is not None and known.state == "active":
            # One person once, with the highest rank; what speaks in that name and proved nothing is not passed over.
            if active and known.proved and not proved:
                listed[member.identity] = known.model_copy(update={"name": name, "proved": False})
            continue
        if known is not None and not active:
            continue
        listed[member.identity] = models.Member(
            id=identity_id(member.identity),
            name=name,
            role=ROLES[member.rank],
            state=member_state,
            proved=proved,
            covered=member.identity not in uncovered,
            forked=any(w.writer in space.feed_store.proofs for w in state.writers.values() if w.member == member.id),
        )
    waiting = dict.fromkeys(_invited(profile, space), space) | awaited(profile, space)
    for identity, where in waiting.items():
        if identity not in listed or listed[identity].state != "active":
            listed[identity] = models.Member(
                id=identity_id(identity), name=person_name(profile, identity, where), role="member", state="invited"
            )
    reason = cover.sentence(profile, space, open_to)
    return models.Members(members=list(listed.values()), covered=not open_to, reason=reason)


def _invited(profile: Profile, space: Space) -> list[bytes]:
    """Contacts with an offer of mine for this chat that they have not refused and that nobody used."""
    if space.kind is not SpaceKind.GROUP:
        return []
    return [identity for identity in profile.view.contacts if _waiting_offers(profile, space, identity)[1]]


def _unproved(profile: Profile, space: Space, member: bytes) -> bytes:
    """The core key of a writer of a member that proved nothing, an open one if there is."""
    writers = [w for w in space.state.writers.values() if w.member == member and not speaks(profile, space, w.core)]
    return min(writers, key=lambda writer: (not writer.open, writer.core)).core


def _group(profile: Profile, chat: str) -> Space:
    space = writable(profile, find_space(profile, chat))
    if space.kind is not SpaceKind.GROUP:
        raise KithkinError("not_allowed", "That is possible in groups only.")
    return space
