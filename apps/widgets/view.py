"""What every screen shares: the way to the engine, and states that are drawn in the window's own thread."""

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
    """`wide`: two panes.  `session` is there from home on."""

    thread: ServiceThread
    app: App
    wide: bool
    session: Session | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        self.thread.do(work)

    def call(self, action: Callable[..., object], *args: object) -> None:
        self.thread.call(action, *args)

    @property
    def home(self) -> Session:
        if self.session is None:
            raise LookupError("no profile is open")
        return self.session


class View(BoxLayout):
    """A screen or a part of one.  `follow` in `__init__`; `leave` when it is taken away for good."""

    ui = ObjectProperty(None, rebind=False)

    def __init__(self, ui: Ui, **options: Any) -> None:
        self._ends: list[Callable[[], None]] = []
        super().__init__(ui=ui, **options)

    def follow(self, model: ViewModel[S], draw: Callable[[S], object]) -> None:
        """Calls `draw(state)` soon, and after every change: in the window's thread, once a frame at most."""
        # A trigger may be pulled from any thread; several pulls before a frame are one call.
        trigger = Clock.create_trigger(lambda _: draw(model.state))
        self._ends.append(model.watch(trigger))
        self._ends.append(trigger.cancel)
        draw(model.state)

    def leave(self) -> None:
        for end in self._ends:
            end()
        self._ends.clear()

    def shown(self, top: bool) -> None:
        """Whether it is what a person sees now."""


def load(name: str) -> None:
    """The rules beside a module."""
    Builder.load_file(str(Path(__file__).with_name(name)))
