"""What people see: aligned, escaped, with a next step, and QR codes that a reader reads."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zxingcpp

from apps.cli.human import render
from apps.cli.record import Record, as_record
from apps.cli.safe import escaped, one_line
from apps.cli.terminal import qr_lines
from identity.safety_number import safety_number
from sync.service import models as m
from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import CODE

ROOT = Path(__file__).resolve().parents[3]
SAFETY = safety_number(bytes(32), b"\1" * 32)
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_options_stand_before_or_behind_the_name(ada: Desk) -> None:
    folder = str(ada.folder)
    ada.patch.delenv("KITHKIN_PROFILE")
    for words in (
        ("--profile", folder, "--json", "profile", "show"),
        ("profile", "--profile", folder, "show", "--json"),
        ("profile", "show", "--json", "--profile", folder),
        ("--json", "--profile", "/nowhere", "profile", "show", "--profile", folder),
    ):
        assert ada.shown(*words).out.startswith('{"identity":"id_ada"')


def test_help_is_shown_and_is_json_where_asked(ada: Desk) -> None:
    assert ada.shown("--help").out.startswith("usage: kithkin")
    assert ada.run("send", "--help").lines[0]["help"].startswith("usage: kithkin send")


def test_help_command_says_what_the_help_option_says(ada: Desk) -> None:
    said = ada.shown("help")
    assert (said.code, said.out) == (0, ada.shown("--help").out)
    assert ada.run("help").lines == ada.run("--help").lines


def test_bare_command_refuses_and_shows_the_help_on_standard_error(ada: Desk) -> None:
    said = ada.shown()
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("kithkin: the following arguments are required: COMMAND.\n  next: ")
    assert said.err.endswith(ada.shown("--help").out)


def test_usage_error_names_the_program_once_for_people_and_as_before_for_programs(ada: Desk) -> None:
    assert ada.shown("send").err.splitlines()[0] == "kithkin: send: the following arguments are required: CHAT, TEXT."
    error = ada.run("send").lines[0]["error"]
    assert error["message"] == "kithkin send: the following arguments are required: CHAT, TEXT."


def test_version_is_that_of_the_package(ada: Desk) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ada.run("--version").lines == [{"help": f"kithkin {version}\n"}]
    assert ada.shown("--version").out == ada.shown("version").out == f"kithkin {version}\n"
    assert ada.run("version").lines == [{"version": version}]


def test_terminal_escapes_are_shown_not_obeyed(ada: Desk) -> None:
    ada.run("send", "self", "\x1b[2Jred\x9b31m\u202egnp.exe\r\nsecond line")
    shown = ada.shown("read", "self").out
    assert "\x1b" not in shown and "\x9b" not in shown and "\u202e" not in shown and "\r" not in shown
    assert "\\x1b[2Jred\\x9b31m\\u202egnp.exe\\x0d\n    second line" in shown
    assert "\\x1b[2Jred" in ada.shown("search", "line").out


@pytest.mark.parametrize("char", ["\0", "\x1b", "\x7f", "\x85", "\x9b", "\u202e", "\u2066", "\u2028", "\udc80"])
def test_terminal_control_characters_are_escaped(char: str) -> None:
    assert escaped(f"a{char}b") == one_line(f"a{char}b") != f"a{char}b"
    assert escaped(f"a{char}b").isascii()


def test_ordinary_texts_stay_as_they_are() -> None:
    text = "Grüße, 漢字, עברית, 👩‍👩‍👧\tand\nlines"
    assert escaped(text) == text
    assert one_line(text) == "Grüße, 漢字, עברית, 👩‍👩‍👧\\tand\\nlines"


def test_columns_are_aligned_whatever_stands_in_them() -> None:
    members = [
        m.Member(id="id_1", name="漢字", role="creator", state="active"),
        m.Member(id="id_22", name="A\nb", role="member", state="left"),
    ]
    assert render(m.Members(members=members), colour=False).splitlines() == [
        "id     name  role     state   proved",
        "id_1   漢字  creator  active  yes",
        "id_22  A\\nb  member   left    yes",
    ]


def test_colours_only_where_a_terminal_is(ada: Desk) -> None:
    assert "\x1b" not in ada.shown("chat", "list").out
    devices = m.Devices(devices=[m.Device(id="d", name="n", this=True, added=AT, last_seen=None, state="active")])
    assert "\x1b[32mactive" in render(devices, colour=True)


def test_words_are_shown_once_with_what_they_are_good_for(desk: Desk) -> None:
    shown = desk.shown("init", "--name", "Ada").out
    assert " 1 word0 " in shown and "24 word23" in shown
    assert "shown once and kept nowhere: write them down on paper." in shown
    assert "back when every device is lost: `kithkin init --recover`." in shown


def test_safety_number_is_shown_as_three_rows_of_four_whole_groups(ada: Desk) -> None:
    rows = ada.shown("contact", "verify", "contact_bob").out.splitlines()
    groups = SAFETY.split()
    assert [len(group) for group in groups] == [5] * 12
    assert [row.split("  ") for row in rows[:3]] == [groups[:4], groups[4:8], groups[8:]]
    assert ada.run("contact", "verify", "contact_bob").lines[0]["safety_number"] == SAFETY


FOUND = m.Dht(
    enabled=True, bootstrapped=True, nodes=9, nat="random", address="192.0.2.1:7", relays=["192.0.2.9:1"], topics=4
)


def status(dht: m.Dht, **peer: Any) -> m.Status:
    other = m.Peer(device="d", identity="i", name="desk", address="127.0.0.1:1", **peer)
    return m.Status(identity="i", device="d", online=True, peers=[other], dht=dht, pending=0, feeds=1, entries=2)


def test_status_shows_the_name_of_the_person_and_the_device_in_rows_of_their_own() -> None:
    rows = render(status(m.Dht()).model_copy(update={"name": "Ada", "device": "dev_A"}), colour=False).splitlines()
    assert [row.split() for row in rows[:3]] == [["identity", "i"], ["name", "Ada"], ["device", "dev_A"]]


def test_init_link_and_an_offline_status_say_the_next_step(desk: Desk) -> None:
    assert desk.shown("link", stdin=f"{CODE}\n".encode()).out.splitlines()[-2:] == [
        "Linked: this is now device_desk of id_ada.",
        "Start `kithkin run` here to get your chats and contacts.",
    ]
    made = desk.shown("init", "--name", "Ada").out.splitlines()
    assert made[-1] == "Next: `kithkin run`, then `kithkin contact invite`."
    assert "online    no: start `kithkin run` to connect" in desk.shown("status").out
    assert "kithkin run" not in render(status(m.Dht()), colour=False)


def test_every_model_can_be_shown() -> None:
    message = m.Message(id="msg", author="id", author_name="", device="d", text="", at=AT, state="queued", deleted=True)
    erased = message.model_copy(update={"erased": m.Erasure(devices=2, of_devices=3)})
    imported = message.model_copy(update={"deleted": False, "text": "old", "source": "irc", "checked": False})
    hit = m.Hit(id="msg", chat="c", author="id", text="t", snippet="t", at=AT, score=1.0)
    device = m.Device(id="d", name="n", this=False, added=AT, last_seen=AT, state="revoked")
    contact = m.Contact(id="k", name="Bob", state="pending", verified=False, blocked=False)
    chat = m.Chat(id="c", title="T", kind="group", state="invited", members=2, unread=0, last=AT)
    peer = m.Peer(device="d", identity="i", name="desk", address="127.0.0.1:1")
    shown: list[tuple[m.Line, list[str]]] = [
        (m.Messages(messages=[message, imported], more=True), ["…", "(deleted)", "(quoting irc)", "unchecked"]),
        (m.Messages(messages=[erased], more=False), ["(deleted on 2 of 3 devices)"]),
        (m.Hits(hits=[hit], total=3, took_ms=1.2), ["3 found in 1 ms"]),
        (
            m.Hits(hits=[hit.model_copy(update={"author_name": "Ada", "source": "trey"})], total=1, took_ms=1.2),
            ["Ada (quoting trey)"],
        ),
        (m.Safety(safety_number=SAFETY, verified=False), [SAFETY[:23].replace(" ", "  "), "not verified"]),
        (m.Invite(invite="kithkin:invite/A", expires=AT), ["For one person, until 2026-11-24"]),
        (m.Outbox(pending=[]), ["Everything is delivered."]),
        (m.Contacts(contacts=[]), ["kithkin contact invite"]),
        (m.StatusEvent(chat="c", id="msg", state="delivered", delivered=1, devices=2), ["delivered", "1 of 2"]),
        (m.GoneEvent(chat="c", id="msg"), ["message msg is gone"]),
        (m.GapEvent(), ["events were lost here"]),
        (m.PeerEvent(peer=peer, connected=False), ["lost desk"]),
        (m.DeviceEvent(device=device, notice="A device was added."), ["A device was added."]),
        (m.ContactEvent(contact=contact), ["Bob: pending"]),
        (m.ChatEvent(chat=chat), ["T: invited"]),
        (m.ProgressEvent(what="history", done=5, total=10), ["history 5 of 10"]),
        (m.Testnet(bootstrap="127.0.0.1:5", size=3), ["3 nodes run", "--bootstrap 127.0.0.1:5"]),
        (status(m.Dht()), ["off: addresses known"]),
        (status(m.Dht(enabled=True)), ["connecting, at 0 topics", "not known yet"]),
        (
            status(FOUND, path="punched", rtt_ms=20.25),
            [
                "9 nodes, guest, at 4 topics",
                "another port for each peer",
                "192.0.2.1:7, not reachable",
                "(punched, 20.2 ms)",
            ],
        ),
        (status(m.Dht(enabled=True, bootstrapped=True, nodes=1)), ["1 node, guest", "2 entries in 1 feed"]),
        (m.ReadUpto(read_upto=None), ["There is nothing to mark as read."]),
        (m.ReadUpto(read_upto="msg_1"), ["Read up to msg_1."]),
        (m.Digits(code="123456"), ["123 456"]),
        (m.Wrong(left=1), ["1 more try"]),
        (m.Sent(id="msg", state="queued"), ["id msg  state queued"]),
        (m.MessageEvent(chat="c", message=message, new=False), [""]),
        (m.Stats(messages=[], storage=[m.ChatStorage(chat="c", title="", messages=1, bytes=1536)]), ["1.5 KiB"]),
    ]
    for value, parts in shown:
        text = render(value, colour=False)
        assert all(part in text for part in parts), (text, parts)
        record = as_record(type(value).__name__, json.loads(value.model_dump_json()))
        assert render(record, colour=False) == text


def test_no_key_of_a_model_hides_behind_a_method_of_records() -> None:
    models = [one for one in vars(m).values() if isinstance(one, type) and issubclass(one, m.Line)]
    assert len(models) > 50
    for model in models:
        assert not [key for key in model.model_fields if hasattr(Record, key) and key != "model"]


def test_record_is_written_as_the_model_is() -> None:
    message = m.Message(id="msg", author="id", author_name="漢字\n", device="d", text='"🎈"', at=AT, state="queued")
    value = m.Messages(messages=[message], more=False)
    assert as_record("Messages", json.loads(value.model_dump_json())).model_dump_json() == value.model_dump_json()


@pytest.mark.parametrize("colour", [False, True])
def test_a_reader_reads_the_code_that_the_terminal_shows(colour: bool) -> None:
    text = "kithkin:pair/" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 10
    lines = [line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m") for line in qr_lines(text, colour=colour)]
    halves = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    rows = [[halves[char][half] for char in line] for line in lines for half in (0, 1)]
    # Drawn light on a dark screen without colours, dark on white with them; a reader wants dark on white.
    dots = [[255 if dot != colour else 0 for dot in row for _ in range(4)] for row in rows for _ in range(4)]
    size = (len(dots), len(dots[0]))
    picture = memoryview(bytes(dot for row in dots for dot in row)).cast("B", size)
    assert [code.text for code in zxingcpp.read_barcodes(picture)] == [text.upper()]


def test_error_is_followed_by_its_hint(ada: Desk) -> None:
    shown = ada.shown("send", "nowhere\x1b", "x")
    assert shown.code == 1 and shown.out == ""
    assert shown.err.splitlines()[0] == "kithkin: There is no chat nowhere\\x1b."
    assert shown.err.splitlines()[1].startswith("  next: ")


def test_doctor_and_status_say_one_feed_and_one_message(home: Desk) -> None:
    home.run("send", "self", "hello")
    details = [check["detail"] for check in home.run("doctor").lines[0]["checks"]]
    assert any(detail.startswith("1 feed, ") for detail in details)
    assert any(detail.startswith("1 message, kept by ") for detail in details)


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("send", "chat_NOWHERE", "x"), "There is no such chat here.", "kithkin chat list"),
        (("contact", "rename", "id_NOBODY", "x"), "There is no such contact here.", "kithkin contact list"),
        (("device", "rename", "dev_NONE", "x"), "There is no such device here.", "kithkin device list"),
        (("edit", "self", "msg_NONE", "x"), "There is no such message here.", "kithkin read CHAT"),
        (("import", "self", "absent.jsonl"), "There is no such file.", "Check the path"),
    ],
)
def test_hint_fits_what_was_not_found(home: Desk, words: tuple[str, ...], sentence: str, hint: str) -> None:
    said, following = home.shown(*words).err.splitlines()
    assert said == f"kithkin: {sentence}"
    assert following.startswith("  next: ") and hint in following


def test_passphrase_file_that_cannot_be_read_is_named_with_a_hint_about_files(desk: Desk) -> None:
    desk.patch.setenv("KITHKIN_PASSPHRASE_FILE", "/nowhere/passphrase")
    assert "next: Name a readable file that holds it" in desk.shown("init", "--name", "Ada").err


def test_what_a_restart_means_for_a_chat_stands_below_the_list() -> None:
    chat = m.Chat(id="chat_a", title="Trip", kind="group", state="active", members=3, unread=0, last=None)
    lost = chat.model_copy(update={"notice": "The devices with which Ada made this group are lost.\x1b[31m"})
    quiet, told = (render(m.Chats(chats=[one]), colour=False) for one in (chat, lost))
    assert told.splitlines()[:-1] == quiet.splitlines()
    assert (
        told.splitlines()[-1].startswith("Trip: The devices with which Ada made this group are lost.")
        and "\x1b" not in told
    )
