"""Tables of transitions: which events a session takes in a state, and the state that each leads to.

`approver.py`, `joiner.py`, `inviter.py` and `invitee.py` each have one; `docs/state-machines.md` is made from them.
What no table needs to say, because it holds in every state: a refusal, a message out of turn, a lost connection or a
deadline that has passed leads to OVER, and a call that the state does not take does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from identity.errors import DecodeError


class Handshake(Enum):
    """A Noise message of the other side."""

    NOISE_1 = "Noise 1"
    NOISE_2 = "Noise 2"
    NOISE_3 = "Noise 3"


class Call(Enum):
    """A method that the shell calls when its person has answered or its store is written."""

    START = "start()"
    APPROVE = "approve()"
    DECLINE = "decline()"
    SUBMIT_CODE = "submit_code()"
    GRANT = "grant()"
    OFFER = "offer()"
    REFUSE = "refuse()"
    JOIN = "join()"
    FINISH = "finish()"


class Verdict(Enum):
    """What a message turned out to be, where one type of message leads to two states."""

    WRONG_CODE = "ANSWER to another code"


Event = Handshake | Call | Verdict | int  # int: a message type of the protocol, an IntEnum in every table
S = TypeVar("S", bound=Enum)


class Position(Generic[S]):
    """Where one session is in its table."""

    __slots__ = ("_table", "state")

    def __init__(self, table: Mapping[tuple[S, Event], S], state: S) -> None:
        self._table = table
        self.state = state

    def takes(self, event: Event) -> bool:
        """Whether the table has a row for this event in the present state."""
        return (self.state, event) in self._table

    def check(self, kind: int) -> None:
        """Raises DecodeError for a message type that the present state does not take."""
        if (self.state, kind) not in self._table:
            raise DecodeError("message out of turn")

    def go(self, event: Event) -> None:
        """Goes to the state that follows.  KeyError for an event that the state does not take: a fault of ours."""
        self.state = self._table[self.state, event]
