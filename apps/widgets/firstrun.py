"""Pages before a profile is open: the welcome, creating, the 24 words, linking, unlocking, and what went wrong."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.core.clipboard import Clipboard
from kivy.properties import BooleanProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from apps.viewmodels.app import Stage
from apps.viewmodels.firstrun import CreateState, LinkState, RecoverState, UnlockState
from apps.widgets.controls import toast
from apps.widgets.view import Ui, View, load

load("firstrun.kv")


class FirstRun(View):
    """A column in the middle, under a title.  `can_go_back`: to the welcome."""

    title = StringProperty("")
    can_go_back = BooleanProperty(True)
    busy = BooleanProperty(False)
    problem = StringProperty("")

    def back(self) -> None:
        self.ui.call(self.ui.app.choose, Stage.WELCOME)

    def show_trouble(self, state: Any) -> None:
        """Takes `busy` and `problem` of a state."""
        self.busy, self.problem = state.busy, state.problem

    def focus(self, name: str) -> None:
        """Puts the cursor into a field, unless it is in another by then."""

        def put(_: float) -> None:
            if not any(getattr(part, "focus", False) for part in self.walk(restrict=True)):
                self.ids[name].focus = True

        Clock.schedule_once(put, 0)


class Welcome(FirstRun):
    is_phone = BooleanProperty(True)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui, is_phone=ui.app.options.kind == "phone")

    def create(self) -> None:
        self.ui.call(self.ui.app.choose, Stage.CREATE)

    def link(self) -> None:
        self.ui.call(self.ui.app.choose, Stage.LINK)

    def restore(self) -> None:
        self.ui.call(self.ui.app.choose, Stage.RESTORE)

    def recover(self) -> None:
        self.ui.call(self.ui.app.choose, Stage.RECOVER)


class CreateProfile(FirstRun):
    asks_passphrase = BooleanProperty(True)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.app.create, self._draw)
        self.focus("name")

    def _draw(self, state: CreateState) -> None:
        self.show_trouble(state)
        self.asks_passphrase = state.asks_passphrase
        if state.words:
            # The passphrase is removed from the fields as soon as it was used.
            self.ids.passphrase.text = self.ids.again.text = ""

    def named(self) -> None:
        if self.asks_passphrase:
            self.ids.passphrase.focus = True
        else:
            self.create()

    def create(self) -> None:
        ids = self.ids
        self.ui.do(self.ui.app.create.create(ids.name.text, ids.passphrase.text, ids.again.text))


class Word(BoxLayout):
    number = NumericProperty(0)
    word = StringProperty("")


class Phrase(FirstRun):
    """The words, shown once."""

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        for number, word in enumerate(ui.app.create.state.words, 1):
            self.ids.words.add_widget(Word(number=number, word=word))

    def noted(self) -> None:
        """Three of them are asked back."""
        self.ui.call(self.ui.app.create.noted)


class Asked(FirstRun):
    """The words are asked back, one after another."""

    asked = NumericProperty(0)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui, asked=ui.app.create.state.asked)
        self.follow(ui.app.create, self._draw)
        self.focus("word")

    def _draw(self, state: CreateState) -> None:
        self.show_trouble(state)
        if state.asked and state.asked != self.asked:
            self.asked = state.asked
            self.focus("word")

    def answer(self) -> None:
        word, self.ids.word.text = self.ids.word.text, ""
        self.ui.do(self.ui.app.create.answer(word))
        self.focus("word")

    def again(self) -> None:
        self.ui.call(self.ui.app.create.again)


class RecoverProfile(FirstRun):
    """Makes a device from the 24 words."""

    asks_passphrase = BooleanProperty(True)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.app.recover, self._draw)
        self.focus("words")

    def _draw(self, state: RecoverState) -> None:
        self.show_trouble(state)
        self.asks_passphrase = state.asks_passphrase

    def named(self) -> None:
        if self.asks_passphrase:
            self.ids.passphrase.focus = True
        else:
            self.recover()

    def recover(self) -> None:
        ids = self.ids
        self.ui.do(self.ui.app.recover.recover(ids.name.text, ids.words.text, ids.passphrase.text, ids.again.text))


class LinkDevice(FirstRun):
    asks_passphrase = BooleanProperty(True)
    text = StringProperty("")
    checking = BooleanProperty(False)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.app.link, self._draw)
        self.focus("name")

    def _draw(self, state: LinkState) -> None:
        self.show_trouble(state)
        self.asks_passphrase, self.checking = state.asks_passphrase, state.checking
        if state.text != self.text:
            self.ids.code.modules = state.code
            self.text = state.text
            self.ids.pages.current = "code" if state.text else "form"
            if state.text:
                self.ids.passphrase.text = self.ids.again.text = ""
                self.focus("digits")

    def named(self) -> None:
        if self.asks_passphrase:
            self.ids.passphrase.focus = True
        else:
            self.begin()

    def begin(self) -> None:
        ids = self.ids
        self.ui.do(self.ui.app.link.begin(ids.name.text, ids.passphrase.text, ids.again.text))

    def submit(self) -> None:
        if self.checking:
            return  # what is typed meanwhile stays in the field
        digits = self.ids.digits.text
        self.ids.digits.text = ""
        self.ui.do(self.ui.app.link.submit(digits))
        self.focus("digits")

    def copy(self) -> None:
        Clipboard.copy(self.text)
        toast("Copied. Paste it on your other device.")


class Unlock(FirstRun):
    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.app.unlock, self._draw)
        self.focus("passphrase")

    def _draw(self, state: UnlockState) -> None:
        self.show_trouble(state)

    def unlock(self) -> None:
        if self.busy:
            return
        passphrase = self.ids.passphrase.text
        self.ids.passphrase.text = ""
        self.ui.do(self.ui.app.unlock.unlock(passphrase))


class Starting(FirstRun):
    """While the profile opens."""


class Stopped(FirstRun):
    def again(self) -> None:
        self.ui.do(self.ui.app.start())
