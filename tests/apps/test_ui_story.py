"""Two windows, used like a person does: a phone profile is created, a desktop linked with a picture of its code, a
contact invited; messages in both directions, a group, search, members, a deletion, a contact without the newer keys,
both themes; everything is there again after closing.  Then a backup, a device that is shut out, and the 24 words.

Two real processes under Xvfb with real keys and clicks; the contact is a node of the command line.  With
KITHKIN_SCREENS=FOLDER the pictures stay there (`docs/screens` was made so).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from apps.viewmodels.pictures import read_picture
from tests.apps.ui.screen import Screen

MISSING = [
    *(tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None),
    *(module for module in ("kivy", "kivymd") if find_spec(module) is None),
]
pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(bool(MISSING), reason=f"windows need {', '.join(MISSING)}"),
]
SECRET = "correct horse battery"
ROUTE = " ".join(
    f"{number}. {step}"
    for number, step in enumerate(
        """From the station we follow the river to the mill and cross there, not at the weir.
        Behind the mill a path climbs through the beeches; it is steep for half an hour and then never again.
        At the chapel there is water, the last for a while, so we fill every bottle.
        Along the ridge we keep the fence on our left until the cairn with the red mark.
        The meadow below it is marshy after rain: we go round it on the stones.
        We eat at the hut, if it is open, and else on the sunny side of it.
        Down again by the old quarry, where the children want to see the newts.
        The bus goes at five and at seven; the one at seven is the last.""".splitlines(),
        1,
    )
    for step in [step.strip()]
)
PHONE, DESKTOP = (400, 800), (1200, 800)


# A command line whose library has no ML-KEM, as on a platform that lacks it.
WITHOUT_KEM = """import sys
sys.modules["cryptography.hazmat.primitives.asymmetric.mlkem"] = None
from apps.cli.main import main
sys.exit(main())"""


class Contact:
    """Somebody who uses the command line.  kem: with the newer keys."""

    def __init__(self, folder: Path, name: str, *, kem: bool = True) -> None:
        secret = folder / f"{name}.txt"
        secret.write_text(SECRET)
        self._command = [sys.executable, *(("-m", "apps.cli") if kem else ("-c", WITHOUT_KEM)), "--json"]
        self._environment = {
            **os.environ,
            "KITHKIN_PROFILE": str(folder / name),
            "KITHKIN_PASSPHRASE_FILE": str(secret),
            "KITHKIN_BOOTSTRAP": "",
        }
        self.say("init", "--name", name)
        self._node = subprocess.Popen(
            [*self._command, "run", "--host", "127.0.0.1"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._node.stdout is not None
        assert b"ready" in self._node.stdout.readline()

    def say(self, *words: str) -> dict[str, Any]:
        """The last line of a command."""
        done = subprocess.run(
            [*self._command, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=150,
        )
        line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert "error" not in line, line
        return line

    def texts(self, chat: str) -> list[str]:
        return [message["text"] for message in self.say("read", chat)["messages"]]

    def until_read(self, chat: str, text: str) -> None:
        end = time.monotonic() + 60
        while text not in self.texts(chat):
            assert time.monotonic() < end, (text, self.texts(chat))
            time.sleep(0.2)

    def chat(self, title: str) -> str:
        end = time.monotonic() + 60
        while True:
            for chat in self.say("chat", "list")["chats"]:
                if chat["title"] == title:
                    return str(chat["id"])
            assert time.monotonic() < end, title
            time.sleep(0.2)

    def stop(self) -> None:
        self._node.terminate()
        self._node.communicate(timeout=60)


class Album:
    """A folder of screenshots, reduced to 256 colours to keep them small."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, screen: Screen, name: str) -> Path:
        from PIL import Image

        path = screen.still(self._folder / f"{screen.kind}-{name}.png")
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        return path


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(Path(os.environ.get("KITHKIN_SCREENS") or tmp_path / "screens"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "windows.log"
    yield path
    sys.stderr.write(path.read_text(errors="replace")[-8000:])


def screen(kind: str, size: tuple[int, int], folder: Path, log: Path) -> Screen:
    return Screen(kind, size, folder / kind, folder, log)


def test_phone_desktop_and_a_contact_in_real_windows(tmp_path: Path, album: Album, log: Path) -> None:
    phone = screen("phone", PHONE, tmp_path, log)
    desktop = screen("desktop", DESKTOP, tmp_path, log)
    friend = Contact(tmp_path, "Bob Marsh")
    try:
        words = create(phone, album)
        link(phone, desktop, album, tmp_path)
        chat = invite(phone, desktop, friend, album)
        talk(phone, desktop, friend, chat, album)
        group(phone, desktop, friend, album)
        search(phone, desktop, album)
        invitation(phone, friend, album)
        people(phone, friend, chat, album, tmp_path)
        members(phone, desktop, album)
        deletion(phone, desktop, friend, album)
        looks(phone, desktop, album)
        uncovered(phone, tmp_path, album)
        again(phone, desktop, album)
        lost(phone, desktop, friend, album, tmp_path)
        recovered(tmp_path, words, album, log)
    finally:
        phone.close()
        desktop.close()
        friend.stop()


def create(phone: Screen, album: Album) -> list[str]:
    """Returns the 24 words."""
    phone.start()
    phone.wait("Create a profile", kind="Action")
    album.keep(phone, "welcome")
    phone.click("Create a profile", kind="Action")
    phone.fill("Name", "Ada Lind")
    phone.key("Return")
    phone.type("short")
    phone.key("Return")
    phone.type("short")
    phone.key("Return")
    phone.wait("Choose a passphrase of at least 8 characters.")
    for hint in ("Passphrase", "Repeat passphrase"):
        phone.clear(hint)
        phone.fill(hint, SECRET)
    album.keep(phone, "create")
    phone.key("Return")
    phone.wait("I wrote them down", kind="Action")
    assert sum(seen.kind == "Word" for seen in phone.look()) == 0  # the row has no text itself, its labels have
    album.keep(phone, "words")
    labels = [seen.said for seen in phone.look()]
    words = {int(number): word for number, word in pairwise(labels) if number.isdigit() and word.isalpha()}
    assert len(words) == 24
    phone.click("I wrote them down", kind="Action")
    album.keep(phone, "asked")
    answered: set[int] = set()
    while len(answered) < 3:
        phone.until(lambda: bool(asked_words(phone) - answered))
        (place,) = asked_words(phone) - answered
        phone.fill(f"Word {place}", words[place])
        phone.key("Return")
        answered.add(place)
    phone.wait("Notes to self")
    album.keep(phone, "first")
    return [words[place] for place in range(1, 25)]


def asked_words(screen: Screen) -> set[int]:
    """Places of the words that the page asks for."""
    return {int(found[1]) for seen in screen.look() if (found := re.fullmatch(r"Word (\d+)", seen.said))}


def menu(screen: Screen, words: str) -> None:
    screen.click(icon="dots-vertical")
    screen.click(words, kind="SheetRow")


def link(phone: Screen, desktop: Screen, album: Album, folder: Path) -> None:
    desktop.start()
    desktop.wait("Link to my phone", kind="Action")
    album.keep(desktop, "welcome")
    desktop.click("Link to my phone", kind="Action")
    for hint in ("Passphrase", "Repeat passphrase"):
        desktop.fill(hint, SECRET)
    assert not any(seen.kind == "Problem" and seen.said for seen in desktop.look())
    album.keep(desktop, "link")
    desktop.key("Return")
    desktop.wait(hint="Six digits")
    album.keep(desktop, "code")
    picture = desktop.picture(folder / "code.png")

    menu(phone, "Link a device")
    phone.wait(hint="Code, or path of a picture")
    album.keep(phone, "link")
    phone.fill("Code, or path of a picture", str(folder / "nothing.png"))
    phone.key("Return")
    phone.wait("File not found.")
    phone.clear("Code, or path of a picture")
    phone.fill("Code, or path of a picture", str(picture))
    phone.key("Return")
    phone.wait("Link this device?")
    album.keep(phone, "grant")
    phone.click("Link", kind="Action")
    phone.wait("Type these digits on the new device.")
    album.keep(phone, "digits")
    digits = next(seen.said for seen in phone.look() if seen.said.replace(" ", "").isdigit() and len(seen.said) == 7)
    wrong = str((int(digits.replace(" ", "")) + 1) % 1_000_000).zfill(6)
    desktop.fill("Six digits", wrong)
    desktop.key("Return")
    desktop.wait("Wrong digits. You have 2 tries left.")
    desktop.fill("Six digits", digits.replace(" ", ""))
    desktop.key("Return")
    phone.wait("Device linked")
    album.keep(phone, "linked")
    phone.click("Done", kind="Action")
    desktop.wait("Ada Lind")
    desktop.wait("Notes to self")
    album.keep(desktop, "first")


def invite(phone: Screen, desktop: Screen, friend: Contact, album: Album) -> str:
    menu(phone, "Invite a contact")
    phone.until(lambda: phone.says("kithkin:invite/"), "an invite")
    text = read_picture(album.keep(phone, "invite"))
    accepted = friend.say("contact", "accept", text)
    phone.key("Escape")
    phone.wait("Bob Marsh")
    desktop.wait("Bob Marsh")
    return str(accepted["chat"])


def talk(phone: Screen, desktop: Screen, friend: Contact, chat: str, album: Album) -> None:
    friend.say("send", chat, "Hi Ada! Are you coming along on Saturday? The forecast says sun all day.")
    phone.wait("1")
    phone.click("Bob Marsh", kind="MyChatRow")
    phone.wait("Hi Ada! Are you coming along on Saturday? The forecast says sun all day.")
    phone.enter("Message")
    phone.type("Yes! I take the early train.")
    phone.key("shift+Return")
    phone.type("Where do we meet?")
    phone.key("Return")
    answer = "Yes! I take the early train.\nWhere do we meet?"
    phone.wait(answer)
    friend.until_read(chat, answer)
    asked = next(m for m in friend.say("read", chat)["messages"] if m["text"] == answer)
    friend.say("react", chat, asked["id"], "👍")
    friend.say("send", chat, "At the old bridge, half past nine", "--reply", asked["id"])
    friend.say("send", chat, "Bring a map [b]and[/b] some bread 🍕🎉 · 明日は晴れです · привет")
    friend.say("mark", chat)
    phone.wait("Bring a map [b]and[/b] some bread 🍕🎉 · 明日は晴れです · привет")

    desktop.click("Bob Marsh", kind="MyChatRow")
    desktop.wait("At the old bridge, half past nine")
    desktop.enter("Message")
    desktop.type("I found the map on my desk")
    desktop.key("Return")
    friend.until_read(chat, "I found the map on my desk")
    phone.wait("I found the map on my desk")

    # An edit, with the pointer.
    desktop.click("I found the map on my desk", kind="MessageRow")
    desktop.wait("Edit", kind="SheetRow")
    album.keep(desktop, "menu")
    desktop.click("Edit", kind="SheetRow")
    desktop.wait("Edit message")
    desktop.until(lambda: desktop.find("I found the map on my desk", kind="Composer") is not None, "the text to edit")
    desktop.key("ctrl+End")
    desktop.type(", it is a bit torn")
    desktop.key("Return")
    friend.until_read(chat, "I found the map on my desk, it is a bit torn")
    phone.wait("I found the map on my desk, it is a bit torn")
    friend.say("send", chat, ROUTE)
    friend.say("send", chat, "That was long, sorry")
    phone.wait("That was long, sorry")
    friend.say("mark", chat)
    album.keep(phone, "chat")
    album.keep(desktop, "chat")


def group(phone: Screen, desktop: Screen, friend: Contact, album: Album) -> None:
    phone.click(icon="arrow-left")
    menu(phone, "New group")
    phone.fill("Title", "Mountain trip")
    phone.click("Bob Marsh", kind="Tappable")
    album.keep(phone, "group")
    phone.click("Create group", kind="Action")
    phone.wait("Mountain trip", kind="Bar")
    trip = friend.chat("Mountain trip")
    friend.say("chat", "join", trip)
    phone.wait("2 members")
    phone.enter("Message")
    phone.type("Packing list: tent, stove, rope")
    phone.key("Return")
    friend.until_read(trip, "Packing list: tent, stove, rope")
    friend.say("send", trip, "I bring the rope")
    phone.wait("I bring the rope")
    desktop.click("Mountain trip", kind="MyChatRow")
    desktop.wait("I bring the rope")
    album.keep(phone, "group-chat")


def search(phone: Screen, desktop: Screen, album: Album) -> None:
    desktop.key("ctrl+f")
    desktop.fill("Search messages", "map")
    desktop.until(lambda: desktop.says("2 messages"), "two messages with a map")
    album.keep(desktop, "search")
    desktop.click("Bring a map [b]and[/b] some bread 🍕🎉 · 明日は晴れです · привет", kind="OneLine")
    desktop.wait("I found the map on my desk, it is a bit torn", kind="MessageRow")
    phone.key("Escape")
    phone.click(icon="magnify")
    phone.fill("Search messages", "rope")
    phone.until(lambda: phone.says("2 messages"), "two messages with a rope")
    album.keep(phone, "search")
    phone.key("Escape")


def invitation(phone: Screen, friend: Contact, album: Album) -> None:
    ada = friend.say("contact", "list")["contacts"][0]["id"]
    friend.say("chat", "new", "--title", "Book club", ada)
    phone.wait("Book club")
    phone.wait("!")
    phone.click("Book club", kind="MyChatRow")
    phone.wait("Join", kind="Action")
    phone.wait("You are invited to this group. If you join, its members will see your name.")
    album.keep(phone, "invitation")
    phone.click("Join", kind="Action")
    phone.wait("2 members")
    phone.enter("Message")
    phone.type("Which book?")
    phone.key("Return")
    friend.until_read(friend.chat("Book club"), "Which book?")
    phone.click(icon="arrow-left")


def people(phone: Screen, friend: Contact, chat: str, album: Album, folder: Path) -> None:
    friend.say("send", chat, "\n".join(f"Verse {number} of a very long song" for number in range(1, 60)))
    friend.say("send", chat, "All of it by heart!")
    # The news moves this row to the top: a click before that would meet the row above.
    phone.wait("All of it by heart!")
    phone.click("Bob Marsh", kind="MyChatRow")
    phone.wait("All of it by heart!", kind="MessageRow")
    phone.click("Read more", kind="More")
    phone.until(lambda: phone.says("Verse 59"), "the whole song")
    album.keep(phone, "whole")
    phone.click(icon="arrow-left")
    phone.wait("All of it by heart!")
    phone.click("Bob Marsh", kind="OneLine")
    phone.click("Numbers match, mark as verified", kind="Action")
    phone.wait("Verified", kind="Action")
    album.keep(phone, "number")
    phone.key("Escape", "Escape")
    menu(phone, "Open an invite")
    phone.fill("Invite, or path of a picture", "kithkin:invite/AAAA")
    phone.key("Return")
    phone.until(lambda: any(seen.kind == "Problem" and seen.said for seen in phone.look()), "a refusal")
    album.keep(phone, "accept")
    phone.click("Choose picture", kind="Action")
    phone.wait("Parent folder")
    phone.key("Escape")
    phone.wait("Book club")


def members(phone: Screen, desktop: Screen, album: Album) -> None:
    """Who is in the group, what may be done about them, and the question before it."""
    desktop.click("Mountain trip", kind="MyChatRow")
    desktop.click("2 members", kind="OneLine")
    desktop.click("Bob Marsh", kind="Tappable")
    desktop.wait("Remove from the group", kind="Action")
    album.keep(desktop, "members")
    phone.click("Mountain trip", kind="MyChatRow")
    phone.click("2 members", kind="OneLine")
    phone.click("Bob Marsh", kind="Tappable")
    phone.click("Remove from the group", kind="Action")
    phone.wait("Remove", kind="Action")
    album.keep(phone, "remove")
    phone.key("Escape", "Escape")
    phone.wait("Book club")
    desktop.key("Escape")


def deletion(phone: Screen, desktop: Screen, friend: Contact, album: Album) -> None:
    """A message is deleted for everyone, and each window says on how many devices it is gone."""
    trip = friend.chat("Mountain trip")
    phone.click("Mountain trip", kind="MyChatRow")
    phone.enter("Message")
    phone.type("Wrong chat, sorry")
    phone.key("Return")
    friend.until_read(trip, "Wrong chat, sorry")
    phone.click("Wrong chat, sorry", kind="MessageRow")
    phone.click("Delete for everyone", kind="SheetRow")
    phone.wait("This message was deleted", kind="MessageRow")
    phone.click(icon="arrow-left")
    end = time.monotonic() + 60
    while friend.say("read", trip)["messages"][-1]["erased"] != {"devices": 3, "of_devices": 3} | NO_RELAYS:
        assert time.monotonic() < end
        time.sleep(0.2)
    desktop.click("Bob Marsh", kind="MyChatRow")
    for one in (desktop, phone):
        one.click("Mountain trip", kind="MyChatRow")
        one.wait("This message was deleted", kind="MessageRow")
        album.keep(one, "deleted")
    phone.click(icon="arrow-left")


NO_RELAYS = {"relays": 0, "of_relays": 0}


def uncovered(phone: Screen, folder: Path, album: Album) -> None:
    """A contact whose platform has no ML-KEM: the chat names the device."""
    cleo = Contact(folder, "Cleo", kem=False)
    try:
        phone.click(icon="arrow-left")
        menu(phone, "Invite a contact")
        phone.until(lambda: phone.says("kithkin:invite/"), "an invite")
        accepted = cleo.say("contact", "accept", read_picture(phone.still(folder / "cleo.png")))
        phone.key("Escape")
        phone.click("Cleo", kind="MyChatRow")
        phone.enter("Message")
        phone.type("Is your computer still the old one?")
        phone.key("Return")
        cleo.until_read(accepted["chat"], "Is your computer still the old one?")
        phone.until(lambda: phone.says("quantum"), "the reason why the chat is not covered")
        album.keep(phone, "uncovered")
        phone.click(icon="arrow-left")
    finally:
        cleo.stop()


def looks(phone: Screen, desktop: Screen, album: Album) -> None:
    phone.wait("Mountain trip")
    album.keep(phone, "chats")
    phone.click(icon="weather-night")
    phone.wait(icon="weather-sunny")
    album.keep(phone, "chats-dark")
    phone.click("Bob Marsh", kind="MyChatRow")
    phone.wait("All of it by heart!", kind="MessageRow")
    album.keep(phone, "chat-dark")
    desktop.click("Bob Marsh", kind="MyChatRow")
    desktop.wait("Bob Marsh", kind="Bar")
    desktop.click(icon="weather-night")
    desktop.wait(icon="weather-sunny")
    album.keep(desktop, "chat-dark")


def again(phone: Screen, desktop: Screen, album: Album) -> None:
    assert (phone.stop(), desktop.stop()) == (0, 0)
    phone.start()
    phone.wait("Kithkin is locked")
    album.keep(phone, "locked")
    phone.fill("Passphrase", "not this one")
    phone.key("Return")
    phone.until(lambda: any(seen.kind == "Problem" and seen.said for seen in phone.look()), "a refusal")
    phone.fill("Passphrase", SECRET)
    phone.key("Return")
    phone.wait("Mountain trip")
    assert phone.find(icon="weather-sunny") is not None  # still dark
    phone.click(icon="dots-vertical")
    phone.click("Profile and devices", kind="SheetRow")
    phone.wait("Desktop")
    album.keep(phone, "devices")


def lost(phone: Screen, desktop: Screen, friend: Contact, album: Album, folder: Path) -> None:
    """A backup; then the desktop is shut out, and says so."""
    phone.click("Back up", kind="Action")
    for hint in ("Passphrase of the backup", "Repeat passphrase, for a new file"):
        phone.fill(hint, f"{SECRET} of the backup")
    album.keep(phone, "backup")
    phone.clear("File or folder")
    phone.fill("File or folder", str(folder / "kithkin-backup"))
    phone.click("Back up", kind="Action")
    phone.until(lambda: (folder / "kithkin-backup").exists() and phone.says("in a backup of"), "a backup")
    phone.key("Escape")

    desktop.start()
    desktop.fill("Passphrase", SECRET)
    desktop.key("Return")
    desktop.wait("Bob Marsh")
    phone.click("Desktop", kind="OneLine")
    phone.wait("Shut out Desktop?")
    album.keep(phone, "shut-out")
    phone.click("Shut it out", kind="Action")
    phone.until(lambda: phone.says("Shut out"), "a device that is out")
    album.keep(phone, "revoked")
    phone.key("Escape")
    desktop.until(lambda: desktop.says("shut out"), "being told")
    album.keep(desktop, "shut-out")
    until(lambda: friend.say("status")["kept_by"] >= 1, "a copy at a contact")
    assert (phone.stop(), desktop.stop()) == (0, 0)


def recovered(folder: Path, words: list[str], album: Album, log: Path) -> None:
    """Everything is lost: the 24 words make a device of the same person."""
    new = Screen("desktop", DESKTOP, folder / "new", folder, log)
    small = Screen("phone", PHONE, folder / "newer", folder, log)
    try:
        small.start()
        small.click("I lost my devices and have the 24 words", kind="Action")
        small.wait(hint="The 24 words, in order")
        album.keep(small, "recover")
        small.click(icon="arrow-left")
        small.click("Restore a backup", kind="Action")
        small.wait(hint="File of the backup")
        album.keep(small, "restore")
        new.start()
        new.click("I lost my devices and have the 24 words", kind="Action")
        new.fill("The 24 words, in order", " ".join(["zoo", *words[1:]]))
        new.fill("Name", "Ada Lind")
        for hint in ("Passphrase", "Repeat passphrase"):
            new.fill(hint, SECRET)
        new.key("Return")
        new.until(lambda: any(seen.kind == "Problem" and seen.said for seen in new.look()), "a refusal")
        album.keep(new, "recover")
        new.clear("The 24 words, in order")
        new.fill("The 24 words, in order", " ".join(words))
        new.click("Recover", kind="Action")
        new.wait("Notes to self")  # contacts are found through a DHT: `test_lost.py`
        album.keep(new, "recovered")
        assert (new.stop(), small.stop()) == (0, 0)
    finally:
        new.close()
        small.close()


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.3)
