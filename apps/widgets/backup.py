"""The page that backs this device up, and the one that makes a profile out of a backup."""

from __future__ import annotations

from kivy.properties import BooleanProperty, NumericProperty, StringProperty

from apps.viewmodels.backup import BackUpState, RestoreState
from apps.widgets.firstrun import FirstRun
from apps.widgets.people import Page
from apps.widgets.view import Ui, load

load("backup.kv")


class BackupPage(Page):
    """A file and its passphrase; what was written."""

    done = StringProperty("")
    megabytes = NumericProperty(0)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.backup, self._draw)

    def _draw(self, state: BackUpState) -> None:
        self.show_trouble(state)
        self.done, self.megabytes = state.done, state.megabytes
        if state.done:
            self.ids.passphrase.text = self.ids.again.text = ""

    def create(self) -> None:
        ids = self.ids
        self.ui.do(self.ui.home.backup.create(ids.file.text, ids.passphrase.text, ids.again.text))


class RestoreProfile(FirstRun):
    """Before a profile is open: a file, its passphrase, and one for this device."""

    asks_passphrase = BooleanProperty(True)
    damaged = BooleanProperty(False)
    megabytes = NumericProperty(0)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.app.restore, self._draw)
        self.focus("file")

    def _draw(self, state: RestoreState) -> None:
        self.show_trouble(state)
        self.asks_passphrase, self.damaged, self.megabytes = state.asks_passphrase, state.damaged, state.megabytes

    def restore(self) -> None:
        ids = self.ids
        restore = self.ui.app.restore.restore
        self.ui.do(restore(ids.file.text, ids.secret.text, ids.passphrase.text, ids.again.text))
