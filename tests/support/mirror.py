"""A window on a simulated device: it inserts what it is told, and reads again only where it would have to.

It uses the production mapper of events and the rules of the view-models (`apps.viewmodels`), without their event loop.
At rest it must hold what a fresh read says (`differences`): whatever was lost on the way shows there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.viewmodels.chat import shape_of
from apps.viewmodels.chats import stays_listed, with_message
from apps.viewmodels.excerpt import Excerpt
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.service import messages, models
from sync.service.events import EventMapper
from sync.service.ids import find_chat
from tests.support.calls import Calls, opened, result_of

if TYPE_CHECKING:
    from tests.support.device import Device
    from tests.support.world import World

ALL = 1000  # messages of a chat that are compared: more than a test sends


class Mirror:
    """What a window that was opened now holds of one engine.  It reads at once, and watches from then on."""

    def __init__(self, device: Device, engine: Engine) -> None:
        self._device = device
        self._engine = engine
        self._calls = Calls(opened(engine, lambda: device.now, lambda: None))
        self._mapper = EventMapper(engine.profile)
        self._mapper.begin()
        self._chats: dict[str, models.Chat] = {}
        self._excerpts: dict[str, Excerpt] = {}
        self._shapes: dict[str, tuple[object, ...]] = {}
        self._stale = False  # whether the list has to be read again
        self._stale_chats: set[str] = set()
        self.read_all()

    # -- what a fresh read says -------------------------------------------------------------------------------

    def _read_chats(self) -> dict[str, models.Chat]:
        return {chat.id: chat for chat in result_of(self._calls.chats()).chats}

    def _read_messages(self, chat: str) -> list[models.Message]:
        profile = self._engine.profile
        space = profile.spaces.get(find_chat(profile, chat))
        if space is None:
            return []  # an invitation
        return messages.page(profile, space, ALL, None, None, int(self._device.now * 1000)).messages

    def read_all(self) -> None:
        """Opens the window again: everything is read."""
        self._stale, self._stale_chats = False, set()
        with self._device.misfortune.looking():
            self._chats = self._read_chats()
            self._excerpts = {}
            self._shapes = {chat.id: shape_of(chat) for chat in self._chats.values()}
            for chat in self._chats:
                self._excerpt(chat).replace(self._read_messages(chat), older=False, newer=False)

    # -- what it is told --------------------------------------------------------------------------------------

    def tell(self, event: e.Event) -> None:
        """Inserts an event of the engine."""
        with self._device.misfortune.looking():
            for line in self._mapper.lines(event, int(self._device.now * 1000)):
                self._list(line)
                self._insert(line)

    def ticked(self) -> None:
        """Reads again what the events of this tick did not say."""
        with self._device.misfortune.looking():
            if self._stale:
                self._chats = self._read_chats()
            for chat in self._stale_chats:
                self._excerpt(chat).replace(self._read_messages(chat), older=False, newer=False)
        self._stale, self._stale_chats = False, set()

    def _list(self, line: models.Event) -> None:
        """As `Chats.take` and `Session.take`."""
        after: models.Chat | None
        match line:
            case models.MessageEvent(chat=id_, message=message, new=new):
                known = self._chats.get(id_)
                after = with_message(known, message, new) if known is not None else None
            case models.ChatEvent(chat=chat):
                after = chat if stays_listed(self._chats.get(chat.id), chat) else None
            case models.GoneEvent() | models.ContactEvent() | models.GapEvent():
                after = None
            case _:
                return
        if after is None:
            self._stale = True
        else:
            self._chats[after.id] = after

    def _insert(self, line: models.Event) -> None:
        """As `Chat.take`, `Chat.changed` and `Chat.gap`."""
        match line:
            case models.MessageEvent(chat=id_, message=message):
                self._excerpt(id_).put(message)
            case models.GoneEvent(chat=id_, id=message_id):
                self._excerpt(id_).remove(message_id)
            case models.StatusEvent(chat=id_, id=message_id, state=state):
                self._excerpt(id_).set_state(message_id, state)
            case models.ChatEvent(chat=chat):
                shape = shape_of(chat)
                if self._shapes.setdefault(chat.id, shape) != shape:
                    self._shapes[chat.id] = shape
                    self._stale_chats.add(chat.id)
            case models.GapEvent(chat=of):
                self._stale_chats |= {of} if of is not None else set(self._excerpts)
            case _:
                pass

    def _excerpt(self, chat: str) -> Excerpt:
        if chat not in self._excerpts:
            made = self._excerpts[chat] = Excerpt(ALL)
            made.replace([], older=False, newer=False)
        return self._excerpts[chat]

    # -- at rest ----------------------------------------------------------------------------------------------

    def differences(self) -> list[str]:
        """Where it holds something else than a fresh read says, a line for each."""
        with self._device.misfortune.looking():
            chats = self._read_chats()
            found = _compared("list", self._chats, chats)
            for id_, chat in chats.items():
                held = {message.id: message for message in self._excerpt(id_)}
                found += _compared(chat.title, held, {message.id: message for message in self._read_messages(id_)})
        return found


# What is known at the moment at which a message is read: on how many devices it is erased, whether the epoch it stands
# under is known to be covered, whether a mark reaches it.  A window asks when it shows them, and keeps none of them.
MOMENTARY = frozenset({"covered", "erased", "unread"})


def _compared(where: str, held: dict[str, Any], read: dict[str, Any]) -> list[str]:
    found = []
    for id_ in sorted(held.keys() | read.keys()):
        mine, theirs = held.get(id_), read.get(id_)
        if mine is None or theirs is None:
            found.append(f"{where}: {'lost' if mine is None else 'still there'}: {mine or theirs!r}")
            continue
        told, said = mine.model_dump(), theirs.model_dump()
        found += [
            f"{where}: {id_}: {key} is {told[key]!r}, read {said[key]!r}"
            for key in said
            if told[key] != said[key] and not ("erased" in said and key in MOMENTARY)
        ]
    return found


def differences(world: World) -> dict[str, list[str]]:
    """For each watched device that is on: where its window holds something else than a fresh read says."""
    found = {device.name: device.mirror.differences() for device in world.devices if device.mirror is not None}
    return {name: lines for name, lines in found.items() if lines}
