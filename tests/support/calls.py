"""The service's own calls on a simulated or bare engine, without a node and without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sync.engine.engine import Engine
from sync.service.chats import ChatCalls
from sync.service.contacts import ContactCalls, DeviceCalls
from sync.service.domain import OpenedProfile
from sync.service.messages import MessageCalls
from sync.service.restarts import RestartCalls

T = TypeVar("T")


class Calls(MessageCalls, ChatCalls, RestartCalls, ContactCalls, DeviceCalls):
    """What a person does in chats, with contacts and with their own devices."""


def opened(engine: Engine, clock: Callable[[], float], tick: Callable[[], None]) -> OpenedProfile:
    """The engine as domains see it; nobody who would wait for a change is there."""
    return OpenedProfile(engine, clock, tick, lambda space: asyncio.Event())


def result_of(call: Coroutine[Any, Any, T]) -> T:
    """The answer of a call that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the call waits")
