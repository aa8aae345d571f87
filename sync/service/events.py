"""Turns the engine's events into the lines that the service tells: shown ids, names, whole messages."""

from __future__ import annotations

from collections.abc import Iterator

from sync.engine import effects as e
from sync.engine.profile import Profile
from sync.service import chats, contacts, delivery, messages, models
from sync.service.ids import chat_id, device_id, identity_id, message_id
from sync.service.names import device_name, person_name
from sync.space import timeline

MAX_STATUS = 200  # status lines for one record: who was away long reads the outbox instead


class Announcer:
    """Reads what it tells from the profile as it is now."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def lines(self, event: e.Effect, now_ms: int) -> Iterator[models.Event]:
        profile = self._profile
        match event:
            case e.MessageChanged(space=id_, message=message, fresh=fresh, gone=False):
                space = profile.spaces.get(id_)
                row = timeline.find_row(profile.store, id_, message) if space is not None else None
                if space is not None and row is not None and messages.shown(profile, space, row):
                    reach = delivery.reach(space, profile.account.device)
                    line = messages.model(profile, space, row, reach, now_ms)
                    yield models.MessageEvent(chat=chat_id(id_), message=line, new=fresh)
            case e.DeliveryChanged(space=id_, start=start, end=end):
                yield from self._status(id_, start, end, now_ms)
            case e.PeerChanged(device=device, connected=connected, address=address):
                yield models.PeerEvent(peer=peer_model(profile, device, address), connected=connected)
            case e.DeviceChanged(device=device, notice=notice):
                line2 = contacts.device_model(profile, device, now_ms)
                yield models.DeviceEvent(device=line2, notice=notice)
            case e.ContactChanged(identity=identity):
                if identity in profile.view.contacts:
                    yield models.ContactEvent(contact=contacts.contact_model(profile, identity))
            case e.ChatChanged(space=id_):
                if id_ in profile.view.chats:
                    yield models.ChatEvent(chat=chats.model(profile, id_, now_ms))
            case e.Progress(what=what, done=done, total=total, space=chat):
                shown = chat_id(chat) if chat is not None and chat in profile.view.chats else None
                yield models.ProgressEvent(what=what, done=done, total=total, chat=shown)
            case _:
                return

    def _status(self, id_: bytes, start: int, end: int, now_ms: int) -> Iterator[models.Event]:
        space = self._profile.spaces.get(id_)
        if space is None or space.mine is None or space.personal:
            return
        reach = delivery.reach(space, self._profile.account.device)
        for seq in range(max(start, end - MAX_STATUS), min(end, space.mine.length)):
            for message in space.facts.messages_at(space.mine, seq):
                row = timeline.find_row(self._profile.store, id_, message)
                if row is None or row.core != space.mine.core:
                    continue
                one = reach.of(row.core, row.seq, row.member, row.stamp, now_ms)
                yield models.StatusEvent(
                    chat=chat_id(id_),
                    id=message_id(message),
                    state=one.state,
                    delivered=one.delivered,
                    devices=one.devices,
                )


def peer_model(profile: Profile, device: bytes, address: str) -> models.Peer:
    known = profile.directory.device(device)
    identity = known.identity if known is not None else bytes(32)
    own = identity == profile.account.identity
    name = device_name(profile, device) if own else person_name(profile, identity)
    return models.Peer(device=device_id(device), identity=identity_id(identity), name=name, address=address)
