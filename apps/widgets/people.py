"""Pages above the list: inviting and accepting, approving a device, a new group, members, profile and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.clipboard import Clipboard
from kivy.core.window import Window
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, StringProperty

from apps.viewmodels.approval import ApprovalStep, ApproveState
from apps.viewmodels.devices import DevicesState
from apps.viewmodels.groups import NewGroupState
from apps.viewmodels.invites import AcceptState, InviteState
from apps.viewmodels.members import MembersState
from apps.viewmodels.pages import PageKind
from apps.viewmodels.pictures import pictures_in
from apps.widgets.controls import TapBox, toast
from apps.widgets.view import Ui, View, load
from sync.service.removal import ERASES

load("people.kv")


class PersonRow(TapBox):
    key = StringProperty("")
    title = StringProperty("")
    letters = StringProperty("")
    symbol = StringProperty("")
    shade = NumericProperty(0)
    about = StringProperty("")
    mark = StringProperty("")


class Page(View):
    """A page above the list of chats, which may be busy or show a problem."""

    busy = BooleanProperty(False)
    problem = StringProperty("")

    def back(self) -> None:
        self.ui.call(self.ui.home.back)

    def show_trouble(self, state: Any) -> None:
        """Takes `busy` and `problem` of a state."""
        self.busy, self.problem = state.busy, state.problem


class InvitePage(Page):
    """`text`: the whole invite, as it is copied; `brief`: its beginning and end, to recognise it by."""

    text = StringProperty("")
    brief = StringProperty("")
    valid_for = StringProperty("")

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.invite, self._draw)
        ui.do(ui.home.invite.create())

    def _draw(self, state: InviteState) -> None:
        self.show_trouble(state)
        self.ids.code.modules = state.code
        self.text, self.valid_for = state.text, state.valid_for
        self.brief = f"{state.text[:60]}…{state.text[-20:]}" if state.text else ""

    def copy(self) -> None:
        if self.text:
            Clipboard.copy(self.text)
            toast("Copied. Send it to one person.")


class PictureSource(Page):
    """Reads a code from pasted text, or from a picture that is chosen, typed as a path, or dropped on the window."""

    choosing = BooleanProperty(False)
    folder = StringProperty("")

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        Window.bind(on_drop_file=self._dropped)

    def leave(self) -> None:
        Window.unbind(on_drop_file=self._dropped)
        super().leave()

    def _dropped(self, _: object, path: bytes, *__: object) -> None:
        self.take_picture(path.decode(errors="surrogateescape"))

    def paste(self) -> None:
        self.ids.text.text = (Clipboard.paste() or "").strip()[:8192]

    def take(self) -> None:
        """Reads what is in the field: a code, or the path of a picture."""
        typed = self.ids.text.text.strip()
        if typed.startswith(("/", "~", "./", "file:")) or (len(typed) > 2 and typed[1:3] == ":\\"):
            self.take_picture(typed.removeprefix("file://"))
        else:
            self.take_text(typed)

    def take_text(self, text: str) -> None:
        raise NotImplementedError

    def take_picture(self, path: str) -> None:
        raise NotImplementedError

    def choose(self) -> None:
        """Shows or hides the pictures of a folder."""
        self.choosing = not self.choosing
        if self.choosing:
            start = next((p for p in (Path.home() / "Pictures", Path.home()) if p.is_dir()), Path("/"))
            self._list(start)

    def _list(self, folder: Path) -> None:
        self.folder = folder.name or str(folder)
        self.ids.pictures.fill(
            [
                {
                    "key": str(entry.path),
                    "title": entry.name if entry.name != ".." else "Parent folder",
                    "symbol": "arrow-up"
                    if entry.name == ".."
                    else "folder-outline"
                    if entry.folder
                    else "image-outline",
                    "letters": "",
                    "shade": 0 if entry.folder else 7,
                    "about": "",
                    "mark": "",
                    "chosen": False,
                }
                for entry in pictures_in(folder)
            ]
        )

    def open(self, key: str) -> None:
        path = Path(key)
        if path.is_dir():
            self._list(path)
            self.ids.pictures.scroll_y = 1
        else:
            self.choosing = False
            self.take_picture(key)


class AcceptPage(PictureSource):
    """Accepts the invite of another person."""

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.accept, self._draw)

    def _draw(self, state: AcceptState) -> None:
        self.show_trouble(state)

    def take_text(self, text: str) -> None:
        self.ui.do(self.ui.home.accept.accept(text))

    def take_picture(self, path: str) -> None:
        self.ui.do(self.ui.home.accept.accept_picture(path))


class DevicePage(PictureSource):
    """Approves another device of mine."""

    step = StringProperty("read")
    digits = StringProperty("")
    grants = StringProperty("")
    with_history = BooleanProperty(True)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.approve, self._draw)

    def _draw(self, state: ApproveState) -> None:
        self.show_trouble(state)
        self.step = "confirm" if state.step is ApprovalStep.CONNECT else state.step.value
        self.digits = f"{state.digits[:3]} {state.digits[3:]}".strip()
        self.grants = "\n".join(f"•  {sentence}" for sentence in state.grants)
        self.with_history = state.history == "all"
        self.ids.pages.current = self.step

    def take_text(self, text: str) -> None:
        self.ui.do(self.ui.home.approve.read(text))

    def take_picture(self, path: str) -> None:
        self.ui.do(self.ui.home.approve.read_picture(path))

    def other_history(self) -> None:
        self.ui.do(self.ui.home.approve.set_history("none" if self.with_history else "all"))

    def confirm(self) -> None:
        self.ui.do(self.ui.home.approve.confirm())


class GroupPage(Page):
    """A new group: its title, and contacts to choose."""

    empty = BooleanProperty(False)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.group, self._draw)

    def shown(self, top: bool) -> None:
        self.ids.title.focus = top

    def _draw(self, state: NewGroupState) -> None:
        self.show_trouble(state)
        self.empty = not state.people
        self.ids.list.fill(
            [
                {
                    "key": person.id,
                    "title": person.name,
                    "letters": person.initials,
                    "symbol": "",
                    "shade": person.shade,
                    "about": "",
                    "mark": "checkbox-marked-circle" if person.chosen else "checkbox-blank-circle-outline",
                    "chosen": False,
                }
                for person in state.people
            ]
        )

    def open(self, key: str) -> None:
        self.ui.call(self.ui.home.group.toggle, key)

    def create(self) -> None:
        self.ui.do(self.ui.home.group.create(self.ids.title.text))


class MembersPage(Page):
    """The members of a chat, and the safety number of a direct one."""

    notice = StringProperty("")
    number = StringProperty("")
    verified = BooleanProperty(False)
    title = StringProperty("")
    may_remove = BooleanProperty(False)
    may_promote = BooleanProperty(False)
    may_demote = BooleanProperty(False)
    demotes = BooleanProperty(False)
    asks = StringProperty("")
    deletes = StringProperty("")

    def __init__(self, ui: Ui, id_: str) -> None:
        super().__init__(ui)
        self.title = ui.home.chats.title_of(id_)
        self.follow(ui.home.members, self._draw)

    def _draw(self, state: MembersState) -> None:
        self.show_trouble(state)
        groups = state.number.split() or []
        if len(groups) == 1:
            groups = [state.number[at : at + 5] for at in range(0, len(state.number), 5)]
        self.number = "\n".join("   ".join(groups[at : at + 4]) for at in range(0, len(groups), 4))
        self.verified, self.notice, self.deletes = state.verified, state.notice, state.deletes
        self.may_remove, self.may_promote, self.asks = state.may_remove, state.may_promote, state.asks
        self.may_demote, self.demotes = state.may_demote, state.demotes
        self.ids.list.fill(
            [
                {
                    "key": member.id,
                    "title": member.name,
                    "letters": member.initials,
                    "symbol": "",
                    "shade": member.shade,
                    "about": member.about,
                    "mark": "check" if member.id == state.chosen else "",
                    "chosen": member.id == state.chosen,
                }
                for member in state.members
            ]
        )

    def open(self, key: str) -> None:
        self.ui.call(self.ui.home.members.choose, key)

    def ask_to_remove(self) -> None:
        self.ui.call(self.ui.home.members.ask_to_remove)

    def remove_member(self) -> None:
        self.ui.do(self.ui.home.members.remove())

    def promote(self) -> None:
        self.ui.do(self.ui.home.members.promote())

    def demote(self) -> None:
        members = self.ui.home.members
        if members.state.demotes:
            self.ui.do(members.demote())
        else:
            self.ui.call(members.ask_to_demote)

    def confirm(self) -> None:
        self.ui.do(self.ui.home.members.confirm())

    def ask_to_delete(self, asked: bool) -> None:
        self.ui.call(self.ui.home.members.ask_to_delete, asked)

    def delete_chat(self) -> None:
        self.ui.do(self.ui.home.delete_chat())


class SettingsPage(Page):
    """My name, my identity and my devices; the end of the profile on this machine."""

    erasing = BooleanProperty(False)  # asked whether everything shall go
    erases = StringProperty("\n".join(f"•  {sentence}" for sentence in ERASES))
    letters = StringProperty("")
    shade = NumericProperty(0)
    identity = StringProperty("")
    question = StringProperty("")
    effects = StringProperty("")
    choosing = BooleanProperty(False)
    rows = ListProperty([])

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self.follow(ui.home.devices, self._draw)
        self.ids.name.text = ui.home.devices.state.name

    def _draw(self, state: DevicesState) -> None:
        self.show_trouble(state)
        self.letters, self.shade, self.identity = state.initials, state.shade, state.identity
        self.choosing = state.choosing
        asked = state.question
        self.question = f"Shut out {asked.name}?" if asked is not None else ""
        self.effects = "\n".join(f"•  {sentence}" for sentence in asked.effects) if asked is not None else ""
        self.ids.list.fill(
            [
                {
                    "key": device.id,
                    "title": device.name,
                    "letters": "",
                    "symbol": "cellphone" if "phone" in device.name.casefold() else "laptop",
                    "shade": 0 if device.active else 4,
                    "about": device.about,
                    "mark": "check" if device.kept else "",
                    "chosen": device.kept,
                }
                for device in state.devices
            ]
        )

    def open(self, key: str) -> None:
        """Asks whether to shut the device out; while devices to keep are chosen, its switch."""
        self.ui.do(self.ui.home.devices.ask(key))

    def shut_out(self) -> None:
        self.ui.do(self.ui.home.devices.shut_out())

    def keep(self) -> None:
        self.ids.words.text = ""
        self.ui.call(self.ui.home.devices.keep)

    def choose(self) -> None:
        self.ui.call(self.ui.home.devices.choose)

    def keep_chosen(self) -> None:
        self.ui.do(self._keep_chosen())

    async def _keep_chosen(self) -> None:
        await self.ui.home.devices.keep_chosen(self.ids.words.text)
        if not self.ui.home.devices.state.choosing:
            self.ids.words.text = ""

    def rename(self) -> None:
        self.ui.do(self.ui.home.devices.rename(self.ids.name.text))

    def link(self) -> None:
        self.ui.do(self.ui.home.show(PageKind.DEVICE))

    def backup(self) -> None:
        self.ui.do(self.ui.home.show(PageKind.BACKUP))

    def ask_to_erase(self, asked: bool) -> None:
        """Asks whether everything of this profile shall go from this machine, or takes the question back."""
        self.erasing = asked

    def erase(self) -> None:
        self.ui.do(self.ui.app.erase())

    def copy(self) -> None:
        Clipboard.copy(self.identity)
        toast("Identity copied")
