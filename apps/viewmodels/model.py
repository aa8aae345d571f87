"""The base of every view-model: one frozen state, and functions that are called when it changed.

A view-model lives in the event loop of the service and is called there alone.  Its state is immutable, so a window may
read it from another thread at any moment.
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
Listener = Callable[[], object]


class ViewModel(Generic[S]):
    """`state` is a frozen dataclass.  States that people wait for have `busy: bool` and `problem: str`."""

    def __init__(self, state: S) -> None:
        self._state = state
        self._listeners: list[Listener] = []
        self._at_work = 0

    @property
    def state(self) -> S:
        """The state of this moment; a later one is another object."""
        return self._state

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` after every change of the state; returns a function that ends it."""
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def _become(self, **changes: Any) -> None:
        state = replace(self._state, **changes)
        if state != self._state:
            self._state = state
            for listener in list(self._listeners):
                listener()

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
