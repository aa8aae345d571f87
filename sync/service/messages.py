"""Messages of one chat: writing, reading, and everything one may do to a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from crdt.docs.chat import MAX_EMOJI, MAX_RECEIPT, Edit, Message, Reaction
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.docs.facts import FactKind
from crdt.docs.ids import NONCE_BYTES, writer_id
from crdt.docs.ids import message_id as make_id
from crdt.docs.marks import reactions
from crdt.docs.own import Hidden, ReadMark
from crdt.docs.rows import Row, at_moment, is_late
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from identity.errors import KithkinError
from sync.engine.profile import Profile
from sync.engine.twins import Placed, copies_of, current, homes, listed_id, rows, stands_first, twin_ids, twins_of
from sync.service import cover, delivery, models
from sync.service.domain import Domain, commits, deadline_in
from sync.service.erasures import erasure_of
from sync.service.ids import (
    MESSAGE,
    chat_id,
    device_id,
    find_chat,
    find_message,
    find_space,
    identity_id,
    message_id,
    not_found,
    prefix_of,
    space_of,
)
from sync.service.names import author_of_row, member_speaks, speaks
from sync.service.text import check_emoji, check_text
from sync.service.times import claimed_lifetime, moment
from sync.space import timeline
from sync.space.epochs import ensure_key
from sync.space.feed import Feed
from sync.space.obligations import refuse_out
from sync.space.outbound import Draft
from sync.space.space import Space

MAX_LIMIT = 1000
UNREAD_MAX = 1000  # counted no further
MARKED = 256  # messages of one feed that a mark looks at in one go


class MessageCalls(Domain):
    """The calls about messages."""

    @commits
    def send(self, chat: str, text: str, *, reply: str | None = None) -> models.Sent:
        profile = self._profile
        space = find_space(profile, chat)
        check_text(text)
        writable(profile, space)
        reply_to = find_row(profile, space, reply)[1].id if reply is not None else None
        message = Message(profile.rng(NONCE_BYTES), text, reply_to=reply_to, lifetime=_lifetime(space))
        (id_,) = write_messages(profile, space, [message], self._now_ms)
        return models.Sent(id=message_id(id_), state="queued")

    async def read(
        self,
        chat: str,
        *,
        limit: int = 50,
        before: str | None = None,
        after: str | None = None,
        wait: float = 0.0,
    ) -> models.Messages:
        # The id is kept, not the space: while this waits, the profile may be read again from its store.
        id_ = find_space(self._profile, chat).id
        deadline = deadline_in(wait)
        if wait > 0 and after is None:
            newest = page(self._profile, space_of(self._profile, id_), 1, None, None, self._now_ms).messages
            after = newest[-1].id if newest else None
            while not newest and not rows(self._profile, twins_of(self._profile, space_of(self._profile, id_)), 1):
                if not await self._change_of(id_, deadline):
                    break
        while True:
            found = page(self._profile, space_of(self._profile, id_), limit, before, after, self._now_ms)
            if found.messages or not await self._change_of(id_, deadline):
                return found

    async def message(self, id: str, *, chat: str | None = None) -> models.Message:
        profile, now_ms, prefix = self._profile, self._now_ms, prefix_of(id, MESSAGE)
        chats = list(profile.view.chats) if chat is None else twin_ids(profile, find_chat(profile, chat))
        for id_ in chats if prefix is not None else ():
            space = profile.spaces.get(id_)
            whole = timeline.find_message(profile.store, id_, prefix) if prefix is not None else None
            if space is None or whole is None:
                continue
            for twin, row in copies_of(profile, twins_of(profile, space), whole)[:1]:
                if shown(profile, twin, row):
                    return model(profile, twin, row, delivery.status_of(twin), now_ms)
        raise not_found("message")

    @commits
    def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto:
        """The engine tells the others: `sync.engine.tasks` has the receipts."""
        profile = self._profile
        space = find_space(profile, chat)
        if upto is not None:
            row = find_row(profile, space, upto)[1]
        elif newest := rows(profile, twins_of(profile, space), 1):
            row = newest[0][1]
        else:
            return models.ReadUpto(read_upto=None)
        for twin in twins_of(profile, space) if not profile.out else ():  # whoever was shut out reads on, untold
            profile.note(self._now_ms, *(ReadMark(twin.id, feeds) for feeds in newly_read(profile, twin, row)))
        return models.ReadUpto(read_upto=message_id(row.id))

    @commits
    def edit(self, chat: str, message: str, text: str) -> models.MessageRef:
        profile = self._profile
        space = find_space(profile, chat)
        check_text(text)
        space, row = find_row(profile, writable(profile, space), message)
        if not is_mine(profile, space, row):
            raise KithkinError("not_allowed", "Only its author can edit a message.")
        if at_moment(row, self._now_ms).deleted:
            raise KithkinError("not_allowed", "That message was deleted.")
        _refuse_old(profile, space)
        for twin, _ in _own_copies(profile, space, row):
            profile.write(twin, [[Edit(row.id, text)]], self._now_ms)
        return _ref(row)

    @commits
    def delete(self, chat: str, message: str, *, everyone: bool = False) -> models.MessageRef:
        """Deletes a message from my devices alone, or asks all devices to delete it."""
        profile = self._profile
        space = find_space(profile, chat)
        found, row = find_row(profile, space, message)
        if not everyone:
            for twin, _ in copies_of(profile, twins_of(profile, space), row.id):
                profile.note(self._now_ms, Hidden(twin.id, row.id, on=True))
            return _ref(row)
        me = _member(writable(profile, found))
        if row.member != me and not found.policy().may_delete(me, row.member):
            raise KithkinError("not_allowed", "Only its author or an admin can delete a message for everyone.")
        for twin, copy in _own_copies(profile, found, row):
            write_deletion(profile, twin, copy, self._now_ms)
        return _ref(row)

    @commits
    def react(self, chat: str, message: str, emoji: str) -> models.MessageRef:
        """Puts my mark on a message, or takes it back where it is there."""
        profile = self._profile
        space = find_space(profile, chat)
        emoji = check_emoji(emoji)
        space, row = find_row(profile, writable(profile, space), message)
        if at_moment(row, self._now_ms).deleted:
            raise KithkinError("not_allowed", "That message was deleted.")
        _refuse_old(profile, space)
        me, marks = _member(space), timeline.marks_on(profile.store, space.id, row.id)
        there = any(mark == emoji and me in members for mark, members in reactions(marks, space.policy().member))
        used = {mark.emoji for mark in marks if space.mine is not None and mark.core == space.mine.core}
        if emoji not in used and len(used) >= MAX_EMOJI:
            raise KithkinError("not_allowed", f"At most {MAX_EMOJI} different reactions of yours fit on one message.")
        for twin, _ in _own_copies(profile, space, row):
            profile.write(twin, [[Reaction(row.id, emoji, not there)]], self._now_ms)
        return _ref(row)

    @commits
    def cancel(self, chat: str, message: str) -> models.MessageRef:
        """Withdraws a message that no other device has."""
        profile = self._profile
        space = find_space(profile, chat)
        found, row = find_row(profile, writable(profile, space), message)
        copies = _own_copies(profile, found, row)
        for twin, copy in copies:
            mine = twin.mine
            if mine is None or copy.core != mine.core:
                raise KithkinError("not_allowed", "Only the device that wrote a message can withdraw it.")
            core8 = mine.core[:8]
            for core, report in twin.reports.items():
                if core != mine.core and any(h.core8 == core8 and h.length > copy.seq for h in report.stored):
                    raise KithkinError(
                        "not_allowed", "Another device has that message already; delete it for everyone instead."
                    )
        for twin, copy in copies:
            write_deletion(profile, twin, copy, self._now_ms)
            profile.note(self._now_ms, Hidden(twin.id, row.id, on=True))
        return _ref(row)

    async def outbox(self) -> models.Outbox:
        return models.Outbox(pending=outbox(self._profile, self._now_ms))


def _ref(row: Row) -> models.MessageRef:
    return models.MessageRef(id=message_id(row.id))


def _member(space: Space) -> bytes:
    """The member id of this device's person in a space, empty where it has no feed there."""
    return space.state.writers[space.mine.core].member if space.mine is not None else b""


def outbox(profile: Profile, now_ms: int) -> list[models.Pending]:
    """Messages of mine that some device has not opened, chat by chat."""
    found = []
    for id_ in profile.view.chats:
        space = profile.spaces.get(id_)
        if space is None:
            continue
        status = delivery.status_of(space)
        for row, one in delivery.pending(space, status, now_ms):
            found.append(
                models.Pending(
                    id=message_id(row.id),
                    chat=chat_id(listed_id(profile, id_)),
                    state=one.state,
                    delivered=one.delivered,
                    devices=one.devices,
                )
            )
    return found


def writable(profile: Profile, space: Space) -> Space:
    """The space, if this device may write there.  Raises `not_allowed`, `update_needed`."""
    mine, chat = space.mine, profile.view.chats.get(space.id)
    refuse_out(space)
    if chat is not None and chat.state in ("left", "declined"):
        raise KithkinError("not_allowed", "You have left that chat.")
    if chat is not None and chat.state == "removed":
        raise KithkinError("not_allowed", "You were removed from that chat.")
    if mine is None or mine.core not in space.state.writers:
        raise KithkinError(
            "not_allowed",
            "This device is not in that chat yet; another device or the person who invited you lets it in.",
        )
    if not space.state.open(mine.core):
        raise KithkinError("not_allowed", "This device is no longer in that chat.")
    space.check_rules()
    peer = chat.peer if chat is not None and chat.kind == "direct" else None
    # Somebody may have offered a group as a chat of two: nothing is written to more people than it says.
    if peer is not None and not space.members.is_direct(profile.account.identity, peer):
        raise KithkinError("not_allowed", "That chat is not what it says: others are in it.")
    return space


def _refuse_old(profile: Profile, space: Space) -> None:
    """Raises `not_allowed` for a message of a group that goes on in another one: only deleting writes there."""
    if current(profile, space) is not space:
        raise KithkinError("not_allowed", "That message is from before this chat was restarted; it stays as it is.")


def _own_copies(profile: Profile, space: Space, row: Row) -> list[Placed]:
    """The copies of a message in the spaces where this device may write, that in `space` among them."""
    copies = copies_of(profile, twins_of(profile, space), row.id)
    return [(twin, copy) for twin, copy in copies if twin is space or twin.may_write]


def write_messages(profile: Profile, space: Space, messages: Iterable[Message], now_ms: int) -> list[bytes]:
    """One entry a message, in each space where devices of the chat wait for it; their whole ids."""
    given = list(messages)
    mine = space.mine
    author = space.members.author(mine.core) if mine is not None else None
    if author is None:
        raise KithkinError("not_allowed", "This device is not in that chat yet.")
    for home in homes(profile, space):
        profile.write(home, [[message] for message in given], now_ms)
    return [make_id(author[1], message.nonce) for message in given]


def _lifetime(space: Space) -> int | None:
    return claimed_lifetime(space.state.settings.get("lifetime", b""))


def find_row(profile: Profile, space: Space, text: str) -> Placed:
    """The row of a shown message id, and the space of the copy that is shown.  Raises `not_found`."""
    twins = twins_of(profile, space)
    found = {message for twin in twins if (message := find_message(profile, twin, text)) is not None}
    copies = copies_of(profile, twins, found.pop()) if len(found) == 1 else []
    if not copies:
        raise not_found("message")
    return copies[0]


def is_mine(profile: Profile, space: Space, row: Row) -> bool:
    """Whether a device of mine wrote it."""
    member = space.state.members.get(row.member)
    return member is not None and member.identity == profile.account.identity and speaks(profile, space, row.core)


def write_deletion(profile: Profile, space: Space, row: Row, now_ms: int) -> None:
    """The deletion entry of a message: its copies and edits by name, so that each holder can clear them."""
    blocks: list[Block] = []
    for fact in timeline.facts_about(profile.store, space.id, row.id):
        feed, offshoot = space.feed_store.feeds.get(fact.core), space.feed_store.offshoots.by_name.get(fact.core)
        entry = space.feed_store.entry(feed, fact.seq) if feed is not None else None
        if offshoot is not None:
            entry = space.feed_store.offshoots.entry(offshoot, fact.seq)
        if entry is None or fact.kind not in (FactKind.COPY, FactKind.EDIT):
            continue
        core = space.members.feed_of(fact.core)  # whichever branch the others keep
        blocks.append(Block(core, fact.seq, (entry.leaf or leaf_of(entry.block))[1]))
    body = encode_deletion(Deletion(row.id, tuple(sorted(set(blocks)))[:1024]))
    ensure_key(space, now_ms, profile.recovery)
    space.append([Draft(Kind.DELETION, lambda seq: body)], now_ms)


def page(
    profile: Profile, space: Space, limit: int, before: str | None, after: str | None, now_ms: int
) -> models.Messages:
    """A page of the timeline, oldest first: the newest, or what is next to the shown id `before` or `after`."""
    limit = max(1, min(limit, MAX_LIMIT))
    low = find_row(profile, space, after)[1].key() if after is not None else None
    high = find_row(profile, space, before)[1].key() if before is not None else None
    twins, forward = twins_of(profile, space), after is not None
    kept: list[Placed] = []
    while len(kept) <= limit:
        found = rows(profile, twins, limit + 1, before=high, after=low)
        seen = [(twin, row) for twin, row in found if shown(profile, twin, row)]
        if len(twins) > 1:
            seen = [(twin, row) for twin, row in seen if stands_first(profile, twins, twin, row)]
        kept = [*kept, *seen] if forward else [*seen, *kept]
        if len(found) <= limit:
            break
        if forward:
            low = found[-1][1].key()
        else:
            high = found[0][1].key()
    more = len(kept) > limit
    kept = kept[:limit] if forward else kept[-limit:]
    status = {twin.id: delivery.status_of(twin) for twin in twins}
    listed = [model(profile, twin, row, status[twin.id], now_ms) for twin, row in kept]
    return models.Messages(messages=listed, more=more)


def shown(profile: Profile, space: Space, row: Row) -> bool:
    """Whether a row is to be seen: false once it was hidden on my devices, alone or with its whole chat."""
    return not profile.hides(space.id, row.id, row.core, row.seq)


def others_feeds(space: Space) -> list[Feed]:
    """Feeds of the other members."""
    mine, state = space.mine, space.state
    me = state.writers[mine.core].member if mine is not None and mine.core in state.writers else None
    feeds = (space.feed_store.feeds.get(writer.core) for writer in state.writers.values() if writer.member != me)
    return [feed for feed in feeds if feed is not None]


def unread(profile: Profile, space: Space) -> int:
    """Messages of others that none of my marks reaches, counted up to a thousand."""
    twins = twins_of(profile, space)
    if len(twins) == 1:
        return len(_unread(profile, space))
    return min(len(set().union(*(_unread(profile, twin) for twin in twins))), UNREAD_MAX)


def _unread(profile: Profile, space: Space) -> set[bytes]:
    """Ids of the unread messages of one space, at most a thousand."""
    found, view = set[bytes](), profile.view
    marks, cleared = view.marks.get(space.id, {}), view.cleared.get(space.id, {})
    for feed in others_feeds(space):
        name = writer_id(feed.core)
        start = max(marks.get(name, -1), cleared.get(name, -1)) + 1
        if start < feed.length and len(found) < UNREAD_MAX:
            ahead = timeline.rows_of_feed(profile.store, feed.number, start, limit=UNREAD_MAX - len(found))
            found |= {row.message for row in ahead if not row.deleted and (space.id, row.message) not in view.hidden}
    return found


def newly_read(profile: Profile, space: Space, row: Row) -> Iterator[tuple[tuple[str, int], ...]]:
    """What a mark at this row says that none of mine says yet: of each feed of others all up to its first message that
    stands behind the row.  In pieces of what one mark holds."""
    marks, upto = profile.view.marks.get(space.id, {}), row.key()
    found: list[tuple[str, int]] = []
    for feed in others_feeds(space):
        name = writer_id(feed.core)
        start = held = marks.get(name, -1)
        while held + 1 < feed.length:
            next_ = timeline.rows_of_feed(profile.store, feed.number, held + 1, limit=MARKED)
            read = list(takewhile(lambda one, core=feed.core: one.row_key(core) <= upto, next_))  # type: ignore[misc]
            held = read[-1].seq if read else held
            if len(read) < MARKED:
                break
        if held > start:
            found.append((name, held))
    found.sort()
    for at in range(0, len(found), MAX_RECEIPT):
        yield tuple(found[at : at + MAX_RECEIPT])


def model(profile: Profile, space: Space, row: Row, status: delivery.DeliveryStatus, now_ms: int) -> models.Message:
    """A row as the service says it."""
    sent, row = row, at_moment(row, now_ms)
    state = space.state
    author = author_of_row(profile, space, row)
    writer = state.writers.get(space.members.feed_of(row.core))
    mine = author.mine
    put = reactions(timeline.marks_on(profile.store, space.id, row.id), space.policy().member) if row.marked else ()
    marked = {member for _, members in put for member in members if member in state.members}
    speaking = {member for member in marked if member_speaks(profile, space, member)}
    open_to = cover.of_entry(space, row.core, row.seq)
    return models.Message(
        id=message_id(row.id),
        author=identity_id(author.identity),
        author_name=author.name,
        proved=author.proved,
        device=device_id(writer.device) if writer is not None else "",
        text=row.text,
        at=moment(time_of(row)),
        state=status.of(sent, now_ms).state if mine else "received",
        edited=row.edited,
        deleted=row.deleted,
        reply_to=message_id(row.reply_to) if row.reply_to is not None else None,
        reactions={
            emoji: who
            for emoji, members in put
            if (who := [identity_id(state.members[one].identity) for one in members if one in speaking])
        },
        files=[models.File(name=file.name, size=file.size) for file in row.files],
        source=row.source,
        late=is_late(row) and not mine,
        ahead=row.placed is not None,
        unread=not (mine or profile.view.has_read(space.id, row.core, row.seq)),
        mine=mine,
        order=order(row),
        erased=erasure_of(space, sent) if sent.deleted else None,
        covered=None if open_to is None else not open_to,
        reason=cover.sentence(profile, space, open_to or ()),
    )


def time_of(row: Row) -> int:
    """Unix ms to show beside a row: what it quotes or its stamp says, and while that is ahead, when it came."""
    return row.at if row.placed is None or row.source is not None else row.placed


def order(row: Row) -> str:
    """`models.Message.order`: the row's key without its id, which nothing else in the chat shares."""
    return row.key()[:-32].hex()
