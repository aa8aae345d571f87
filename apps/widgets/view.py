"""What every screen shares: calls into the service thread, and states that are drawn in the window's own thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kivy.clock import Clock
from kivy.lang import Builder
from kivy.properties import ObjectProperty
from kivy.uix.boxlayout import BoxLayout

from apps.viewmodels.app import App
from apps.viewmodels.model import ViewModel
from apps.viewmodels.service_thread import ServiceThread
from apps.viewmodels.session import Session

S = TypeVar("S", bound=Any)


@dataclass(frozen=True, slots=True)
class Ui:
    """What every view is given.  `wide`: two panes.  `session`: from when a profile is open."""

    thread: ServiceThread
    app: App
    wide: bool
    session: Session | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine in the service thread; returns at once."""
        self.thread.do(work)

    def call(self, action: Callable[..., object], *args: object) -> None:
        """Calls a function in the service thread; returns at once."""
        self.thread.call(action, *args)

    @property
    def home(self) -> Session:
        """The session of the opened profile.  Raises LookupError where none is open."""
        if self.session is None:
            raise LookupError("no profile is open")
        return self.session


class View(BoxLayout):
    """A screen or a part of one.  `follow` states in `__init__`; `leave` when it is removed for good."""

    ui = ObjectProperty(None, rebind=False)

    def __init__(self, ui: Ui, **options: Any) -> None:
        self._ends: list[Callable[[], None]] = []
        super().__init__(ui=ui, **options)

    def follow(self, model: ViewModel[S], draw: Callable[[S], object]) -> None:
        """Calls `draw(state)` now and after every change: in the window's thread, at most once a frame."""
        # A trigger may be called from any thread; several calls before a frame are one.
        trigger = Clock.create_trigger(lambda _: draw(model.state))
        self._ends.append(model.watch(trigger))
        self._ends.append(trigger.cancel)
        draw(model.state)

    def leave(self) -> None:
        """Ends what `follow` began."""
        for end in self._ends:
            end()
        self._ends.clear()

    def shown(self, top: bool) -> None:
        """Called when the view becomes the one that is seen (top), or no longer is."""


def load(name: str) -> None:
    """Loads the Kivy rules of a file in this folder."""
    Builder.load_file(str(Path(__file__).with_name(name)))
