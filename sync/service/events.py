"""Turns the engine's events into the lines that the service tells: shown ids, names, whole messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crdt.docs.ids import writer_id
from sync.engine import effects as e
from sync.engine.profile import Profile
from sync.engine.tasks.receipts import receipts_of
from sync.engine.twins import listed_id, stands_first, twins_of
from sync.service import chats, contacts, delivery, messages, models
from sync.service.ids import chat_id, device_id, identity_id, message_id
from sync.service.names import device_name, person_name
from sync.space import timeline
from sync.space.space import Space

ReadBy = Mapping[tuple[bytes, bytes], int]
"""(core key of a feed of mine, id of another member) -> how many of its entries that member has read."""

MAX_STATUS = 200  # status lines for one feed at a time; older messages of it are a gap: whoever shows them reads again


class EventMapper:
    """Reads what it tells from the profile as it is now.

    It remembers one thing: how far each feed of mine had been read when it told so last, as a receipt says how far
    somebody is and not what is new in it.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._read: dict[bytes, ReadBy] = {}  # by space

    def begin(self) -> None:
        """The first reader begins to watch: what was read before is not news."""
        identity, spaces = self._profile.account.identity, self._profile.spaces
        self._read = {id_: _read_by(spaces[id_], identity) for id_ in self._profile.view.chats if id_ in spaces}

    def lines(self, event: e.Event, now_ms: int) -> Iterator[models.Event]:
        """The lines that tell of one event, none where it concerns nothing that people see."""
        profile = self._profile
        match event:
            case e.MessageChanged(space=id_, message=message, gone=True):
                if id_ in profile.spaces:
                    yield models.GoneEvent(chat=chat_id(listed_id(profile, id_)), id=message_id(message))
            case e.MessageChanged(space=id_, message=message, fresh=fresh):
                yield from self._message(id_, message, fresh, now_ms)
            case e.MessageHidden(space=id_, message=message, hidden=True):
                yield models.GoneEvent(chat=chat_id(listed_id(profile, id_)), id=message_id(message))
            case e.MessageHidden(space=id_, message=message):
                yield from self._message(id_, message, False, now_ms)
            case e.DeliveryChanged(space=id_, core=core, start=start, end=end):
                yield from self._status(id_, core, start, end, now_ms)
            case e.ReceiptsChanged(space=id_):
                yield from self._receipts(id_, now_ms)
            case e.NamesChanged(space=id_):
                if id_ in profile.view.chats:
                    yield models.GapEvent(chat=chat_id(listed_id(profile, id_)))
            case e.PeerChanged(device=device, connected=connected, address=address):
                yield models.PeerEvent(peer=peer_model(profile, device, address), connected=connected)
            case e.DeviceChanged(device=device, notice=notice):
                yield models.DeviceEvent(device=contacts.device_model(profile, device, now_ms), notice=notice)
            case e.ContactChanged(identity=identity, notice=notice):
                if identity in profile.view.contacts:
                    yield models.ContactEvent(contact=contacts.contact_model(profile, identity), notice=notice)
            case e.ChatChanged(space=id_) | e.ListChanged(space=id_):
                if id_ in profile.view.chats:
                    yield models.ChatEvent(chat=chats.model(profile, listed_id(profile, id_), now_ms))
                if isinstance(event, e.ListChanged) and event.cleared:
                    yield models.GapEvent(chat=chat_id(listed_id(profile, id_)))
            case e.Progress(what=what, done=done, total=total, space=chat):
                shown = chat_id(chat) if chat is not None and chat in profile.view.chats else None
                yield models.ProgressEvent(what=what, done=done, total=total, chat=shown)

    def _message(self, id_: bytes, message: bytes, fresh: bool, now_ms: int) -> Iterator[models.Event]:
        profile, space = self._profile, self._profile.spaces.get(id_)
        row = timeline.find_row(profile.store, id_, message) if space is not None else None
        if space is not None and row is not None and messages.shown(profile, space, row):
            if not stands_first(profile, twins_of(profile, space), space, row):
                return
            status = delivery.status_of(space)
            line = messages.model(profile, space, row, status, now_ms)
            yield models.MessageEvent(chat=chat_id(listed_id(profile, id_)), message=line, new=fresh)

    def _receipts(self, id_: bytes, now_ms: int) -> Iterator[models.Event]:
        space = self._profile.spaces.get(id_)
        if space is None:
            return
        before, after = self._read.get(id_, {}), _read_by(space, self._profile.account.identity)
        self._read[id_] = after
        spans: dict[bytes, tuple[int, int]] = {}
        for (core, member), end in after.items():
            start = before.get((core, member), 0)
            if end > start:
                low, high = spans.get(core, (start, end))
                spans[core] = min(low, start), max(high, end)
        for core, (start, end) in spans.items():
            yield from self._status(id_, core, start, end, now_ms)

    def _status(self, id_: bytes, core: bytes, start: int, end: int, now_ms: int) -> Iterator[models.Event]:
        """How far the messages of entries start..end-1 of a feed have come."""
        space = self._profile.spaces.get(id_)
        feed = space.feed_store.feeds.get(core) if space is not None else None
        if space is None or feed is None or space.personal:
            return
        end = min(end, feed.length)
        if end - start > MAX_STATUS:
            yield models.GapEvent(chat=chat_id(listed_id(self._profile, id_)))
        status = delivery.status_of(space)
        for seq in range(max(start, end - MAX_STATUS), end):
            for message in space.facts.messages_at(feed, seq):
                row = timeline.find_row(self._profile.store, id_, message)
                if row is None or row.core != core:
                    continue
                one = status.of(row, now_ms)
                yield models.StatusEvent(
                    chat=chat_id(listed_id(self._profile, id_)),
                    id=message_id(message),
                    state=one.state,
                    delivered=one.delivered,
                    devices=one.devices,
                )


def _read_by(space: Space, identity: bytes) -> ReadBy:
    """How far the others have read the feeds of this person's devices."""
    state, receipts = space.state, receipts_of(space)
    own = {core: w.member for core, w in state.writers.items() if state.members[w.member].identity == identity}
    return {
        (core, who): seqs.get(writer_id(core), -1) + 1
        for core, member in own.items()
        for who, seqs in receipts.items()
        if who != member
    }


def peer_model(profile: Profile, device: bytes, address: str) -> models.Peer:
    """A connected device as `status` and events show it."""
    known = profile.directory.device(device)
    identity = known.identity if known is not None else bytes(32)
    own = identity == profile.account.identity
    name = device_name(profile, device) if own else person_name(profile, identity)
    return models.Peer(device=device_id(device), identity=identity_id(identity), name=name, address=address)
