"""What the service's domains share: the opened profile, and the one way to change it.

A domain is a class with some of `api.Service`'s methods: `messages.MessageCalls`, `chats.ChatCalls` and others.
`local.LocalService` is all of them together.  A method that only reads or waits is written as a coroutine; one that
changes the profile is a plain function under `@commits`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sync.engine.engine import Engine
from sync.engine.profile import Profile
from sync.engine.twins import twin_ids

T = TypeVar("T")
P = ParamSpec("P")
D = TypeVar("D", bound="Domain")


@dataclass(frozen=True, slots=True)
class OpenedProfile:
    """An opened profile, as a process runs it.

    clock: Unix seconds.  tick: commits what was done to the engine and performs what follows; raises what the store
    refuses with.  changed: an event that is set at the next change in the space of that id.
    """

    engine: Engine
    clock: Callable[[], float]
    tick: Callable[[], None]
    changed: Callable[[bytes], asyncio.Event]

    def commit(self, change: Callable[[], T]) -> T:
        """Runs one change and the tick that makes it durable.  A refusal leaves nothing half done."""
        profile = self.engine.profile
        try:
            result = change()
        except BaseException:
            # What a refused call may have put into the open batch goes with the memory that knows of it.
            if profile.uncommitted:
                self.engine.start_over()
                self.tick()
            raise
        self.tick()
        return result


class Domain:
    """The calls of one subject."""

    def __init__(self, opened: OpenedProfile) -> None:
        self._opened = opened

    @property
    def _profile(self) -> Profile:
        return self._opened.engine.profile

    @property
    def _now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self._opened.clock() * 1000)

    async def _others_first(self) -> None:
        """Lets everybody else who waits for the loop have a turn."""
        await asyncio.sleep(0)

    async def _change_of(self, space: bytes, deadline: float) -> bool:
        """Waits for the next change in a space or a twin of it, at most until the deadline; False if that has passed
        already."""
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        waits = [asyncio.ensure_future(self._opened.changed(id_).wait()) for id_ in twin_ids(self._profile, space)]
        try:
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        return True


def deadline_in(seconds: float) -> float:
    """So many seconds from now, by the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


def commits(method: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], Coroutine[Any, Any, T]]:
    """Makes a call of a method that changes the profile: it is answered once the change is durable."""

    @wraps(method)
    async def call(self: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._opened.commit(lambda: method(self, *args, **kwargs))

    return call
