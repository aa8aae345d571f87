"""The base of every view-model: one frozen state, and whoever wants to hear that it changed.

A view-model lives in the engine's event loop and is touched there alone.  Its state is immutable, so a window may read
it from another thread at any moment and sees a whole one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sync.service.api import KithkinError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
Told = Callable[[], object]


class ViewModel(Generic[S]):
    """`state` is a frozen dataclass.  States that people wait for have `busy: bool` and `problem: str`."""

    def __init__(self, state: S) -> None:
        self._state = state
        self._watchers: list[Told] = []
        self._at_work = 0

    @property
    def state(self) -> S:
        return self._state

    def watch(self, told: Told) -> Callable[[], None]:
        """Calls `told` after every change; returns what ends that."""
        self._watchers.append(told)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._watchers.remove(told)

        return end

    def _become(self, **changes: Any) -> None:
        state = replace(self._state, **changes)
        if state != self._state:
            self._state = state
            for told in list(self._watchers):
                told()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Busy until this block and every other have ended; a refusal becomes the sentence that the screen shows."""
        self._at_work += 1
        self._become(busy=True, problem="")
        try:
            yield
        except KithkinError as refusal:
            self._become(problem=refusal.message)
        finally:
            self._at_work -= 1
            self._become(busy=self._at_work > 0)
