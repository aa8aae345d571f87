"""The loaded part of one chat's timeline: which messages are held, in which order, and whether more lie on either side.

An excerpt has no holes: every visible message between its first and its last one is in it.  So a message that somebody
tells of either belongs inside, or at an end where nothing is missing, or to a part that is not loaded and is left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from sync.service import models

MAX_MESSAGES = 300


def _key(message: models.Message) -> tuple[str, str]:
    return message.order, message.id


class Excerpt:
    """`older` and `newer`: the timeline goes on beyond the first or the last message.  Empty until `replace`."""

    def __init__(self, limit: int = MAX_MESSAGES) -> None:
        self.limit = limit
        self.loaded = False
        self.older = False
        self.newer = False
        self._messages: list[models.Message] = []
        self._by_id: dict[str, models.Message] = {}

    # ---- what is held

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[models.Message]:
        return iter(self._messages)

    @property
    def messages(self) -> list[models.Message]:
        """Oldest first."""
        return self._messages

    @property
    def first(self) -> models.Message:
        """The oldest message held.  Raises IndexError while there is none."""
        return self._messages[0]

    @property
    def last(self) -> models.Message:
        """The newest message held.  Raises IndexError while there is none."""
        return self._messages[-1]

    def get(self, id_: str) -> models.Message | None:
        """The message of that id, None where it is not held."""
        return self._by_id.get(id_)

    @property
    def is_emptied(self) -> bool:
        """Nothing is held although there are messages: everything that was held has gone."""
        return self.loaded and not self._messages and (self.older or self.newer)

    # ---- pages that were read

    def replace(self, messages: Iterable[models.Message], *, older: bool, newer: bool) -> None:
        """Holds these instead of what was held."""
        self.loaded, self.older, self.newer = True, older, newer
        self._put_all(messages)
        self._cut_oldest()

    def extend_older(self, messages: Iterable[models.Message], *, more: bool) -> None:
        """Adds the page before the first message; the newest are dropped where it becomes too many."""
        self.older = more
        self._put_all([*messages, *self._messages])
        if len(self._messages) > self.limit:
            self.newer = True
            self._put_all(self._messages[: self.limit])

    def extend_newer(self, messages: Iterable[models.Message], *, more: bool) -> None:
        """Adds the page after the last message; the oldest are dropped where it becomes too many."""
        self.newer = more
        self._put_all([*self._messages, *messages])
        self._cut_oldest()

    def _put_all(self, messages: Iterable[models.Message]) -> None:
        self._by_id = {message.id: message for message in messages}
        self._messages = sorted(self._by_id.values(), key=_key)

    def _cut_oldest(self) -> None:
        if len(self._messages) > self.limit:
            self.older = True
            self._put_all(self._messages[-self.limit :])

    # ---- single messages that somebody told of

    def put(self, message: models.Message) -> bool:
        """Inserts or updates the message at its place; leaves it out where that is not loaded.  Whether what is held
        has changed."""
        held = self._by_id.get(message.id)
        if held == message:
            return False
        if held is not None and held.order == message.order:
            self._by_id[message.id] = message
            self._messages[self._index(held)] = message
            return True
        removed = held is not None and self.remove(message.id)
        return self._insert(message) or removed

    def _insert(self, message: models.Message) -> bool:
        at = self._index(message)
        if not self.loaded or (at == 0 and self.older) or (at == len(self._messages) and self.newer):
            return False
        if at == 0 and len(self._messages) >= self.limit:
            self.older = True
            return False
        self._messages.insert(at, message)
        self._by_id[message.id] = message
        if len(self._messages) > self.limit:
            # At the newest message the oldest goes; farther up the last one that is loaded.
            dropped = self._messages.pop(-1 if self.newer else 0)
            del self._by_id[dropped.id]
            self.older = self.older or not self.newer
        return True

    def remove(self, id_: str) -> bool:
        """Takes a message out.  Whether it was held."""
        held = self._by_id.pop(id_, None)
        if held is None:
            return False
        del self._messages[self._index(held)]
        return True

    def set_state(self, id_: str, state: models.MessageState) -> bool:
        """Another delivery state of a message of mine.  Whether what is held has changed."""
        held = self._by_id.get(id_)
        return held is not None and self.put(held.model_copy(update={"state": state}))

    def _index(self, message: models.Message) -> int:
        return bisect_left(self._messages, _key(message), key=_key)
