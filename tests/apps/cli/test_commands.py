"""Every command says the lines that the command line contract names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.cli import commands, later, losses
from apps.cli.command import Later
from apps.cli.hints import HINTS
from apps.cli.parser import parse
from sync.service.models import CODES
from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import CODE, INVITE, PAIR, PHRASE, WORDS, FakeProfiles


def test_a_profile_is_made_with_its_phrase(desk: Desk) -> None:
    said = desk.run("init", "--name", "Ada")
    assert (said.code, said.lines) == (0, [{"identity": "id_ada", "device": "device_phone", "phrase": PHRASE}])


def test_linking_shows_the_text_and_tries_digits_until_they_match(desk: Desk) -> None:
    said = desk.run("link", stdin=f"000000\n\n{CODE}\n".encode())
    assert said.code == 0
    assert said.lines == [
        {"payload": PAIR},
        {"wrong": True, "left": 2},
        {"linked": True, "identity": "id_ada", "device": "device_desk"},
    ]


def test_linking_ends_with_the_third_miss(desk: Desk) -> None:
    said = desk.run("link", stdin=b"1\n2\n3\n4\n")
    assert (said.code, said.error) == (1, "wrong_code")
    assert said.lines[1:3] == [{"wrong": True, "left": 2}, {"wrong": True, "left": 1}]


def test_linking_without_anybody_to_type_is_refused(desk: Desk) -> None:
    assert desk.run("link").error == "wrong_code"


def test_approving_asks_unless_it_is_told_not_to(ada: Desk) -> None:
    said = ada.run("device", "approve", PAIR, "--yes")
    assert (said.code, said.lines) == (0, [{"code": CODE}, {"approved": True, "device": "device_new"}])
    assert "It reads all your chats." in said.err
    asked = ada.run("device", "approve", PAIR, stdin=b"yes\n")
    assert [list(line) for line in asked.lines] == [["code"], ["approved", "device"]]
    for answer in (b"no\n", b"\n", b""):
        assert ada.run("device", "approve", PAIR, stdin=answer).error == "not_allowed"


def test_words_keep_the_devices_that_are_named(ada: Desk) -> None:
    said = ada.run("device", "keep", "desk", stdin=WORDS.encode())
    assert (said.code, said.lines) == (0, [{"kept": ["device_desk"], "out": ["device_old"]}])
    assert "Compare the ids" in said.err
    alone = ada.run("device", "keep", stdin=WORDS.encode())
    assert alone.lines == [{"kept": [], "out": ["device_old"]}]
    assert ada.run("device", "keep", "laptop", stdin=WORDS.encode()).error == "not_found"
    assert ada.run("device", "keep", "desk", stdin=b"zebra").error == "phrase_invalid"


def test_recovery_keeps_devices_by_name_once_their_list_was_found(desk: Desk) -> None:
    said = desk.run("init", "--name", "Ada", "--recover", "--keep", "desk", stdin=WORDS.encode())
    assert said.lines == [
        {"identity": "id_ada", "device": "device_phone"},
        {"kept": ["device_desk"], "out": ["device_old"]},
    ]


def test_a_device_that_is_not_found_in_time_is_out_and_that_is_said(desk: Desk) -> None:
    said = desk.run("init", "--name", "Ada", "--recover", "--keep", "tablet", "--wait", "0", stdin=WORDS.encode())
    assert said.code == 1 and said.lines[0] == {"identity": "id_ada", "device": "device_phone"}
    assert said.error == "timeout" and "all others are out" in said.lines[1]["error"]["message"]


def test_nothing_is_kept_by_a_new_identity(desk: Desk) -> None:
    assert desk.run("init", "--name", "Ada", "--keep", "desk").error == "usage"


def test_every_other_command_answers_with_its_documented_keys(ada: Desk, tmp_path: Path) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"text": "imported kelp"}\n')
    walk: list[tuple[tuple[str, ...], list[str]]] = [
        (("status",), ["identity", "device", "online", "peers", "dht", "pending", "feeds", "entries"]),
        (("stats",), ["messages", "storage"]),
        (("device", "list"), ["devices"]),
        (("device", "rename", "device_phone", "pocket"), ["device"]),
        (("device", "revoke", "device_phone", "--yes"), ["revoked", "spaces", "told", "waiting"]),
        (("profile", "show"), ["identity", "name", "about"]),
        (("profile", "set", "--name", "A", "--about", "b"), ["identity", "name", "about"]),
        (("contact", "invite", "--expires", "60"), ["invite"]),
        (("contact", "accept", INVITE), ["contact", "chat"]),
        (("contact", "list"), ["contacts"]),
        (("contact", "rename", "contact_bob", "B"), ["contact"]),
        (("contact", "block", "contact_bob"), ["contact"]),
        (("contact", "unblock", "contact_bob"), ["contact"]),
        (("contact", "verify", "contact_bob", "--confirm"), ["safety_number", "verified"]),
        (("chat", "new", "--title", "T", "contact_bob", "contact_eve"), ["chat"]),
        (("chat", "list"), ["chats"]),
        (("chat", "join", "c"), ["chat"]),
        (("chat", "decline", "c"), ["chat"]),
        (("chat", "leave", "c"), ["chat"]),
        (("chat", "rename", "self", "T"), ["chat"]),
        (("chat", "members", "self"), ["members"]),
        (("chat", "add", "c", "contact_bob"), ["chat"]),
        (("chat", "admin", "c", "contact_bob"), ["chat"]),
        (("chat", "set", "c", "history", "none"), ["chat"]),
        (("chat", "set", "c", "lifetime", "86400"), ["chat"]),
        (("send", "self", "hello kelp", "--reply", "msg_9"), ["id", "state"]),
        (("read", "self", "--limit", "1"), ["messages", "more"]),
        (("mark", "self", "--upto", "msg_0"), ["read_upto"]),
        (("edit", "self", "msg_0", "bye kelp"), ["id"]),
        (("react", "self", "msg_0", "🎈"), ["id"]),
        (("search", "kelp", "--chat", "self", "--from", "Ada", "--sort", "score"), ["hits", "total", "took_ms"]),
        (("outbox",), ["pending"]),
        (("delete", "self", "msg_0", "--everyone"), ["id"]),
        (("delete-chat", "c"), ["chat"]),
        (("import", "self", str(lines), "--skip-bad"), ["imported", "skipped"]),
        (("export", "self", str(tmp_path / "out"), "--force"), ["exported"]),
        (("export", "self", str(tmp_path / "out"), "--format", "feeds", "--force"), ["exported"]),
        (("forge-transcript", "self", str(lines), str(tmp_path / "out"), "--force"), ["forged"]),
        (("passphrase", "--new-file", str(tmp_path / "passphrase")), ["changed"]),
        (("passphrase", "--keyring", "off"), ["changed"]),
        (("doctor", "--repair"), ["checks"]),
    ]
    for words, keys in walk:
        said = ada.run(*words)
        assert said.code == 0 and len(said.lines) == 1, (words, said)
        assert set(keys) <= set(said.lines[0]), (words, said.lines)


def test_a_message_has_the_keys_that_programs_read(ada: Desk) -> None:
    ada.run("send", "self", "hello")
    message = ada.run("read", "self").lines[0]["messages"][0]
    keys = "id author author_name device text at state edited deleted reply_to reactions files"
    assert set(keys.split()) <= set(message)
    assert message["at"] == "2026-11-24T12:00:00Z"
    hit = ada.run("search", "hello").lines[0]["hits"][0]
    assert {"id", "chat", "author", "text", "snippet", "at", "score"} <= set(hit)


def test_doctor_ends_with_one_where_something_is_wrong(ada: Desk) -> None:
    said = ada.run("doctor")
    assert (said.code, said.lines[0]["checks"][0]["ok"]) == (1, False)


def test_only_commands_that_reach_other_devices_open_a_network(ada: Desk) -> None:
    assert isinstance(ada.profiles, FakeProfiles)
    networks = ada.profiles.networks
    ada.run("send", "self", "x")
    ada.run("contact", "accept", INVITE)
    ada.run("device", "approve", PAIR, "--yes")
    assert [network is not None for network in networks] == [False, True, True]
    assert [network.bootstrap for network in networks if network is not None] == [(), ()]


@pytest.mark.parametrize(
    "words",
    [
        ("relay", "run", "--port", "1", "--quota", "10"),
        ("relay", "use", "kithkin:relay/AAAA"),
        ("file", "save", "c", "m", "p"),
        ("send", "self", "x", "--file", "picture.png"),
        ("profile", "set", "--picture", "picture.png"),
    ],
    ids=" ".join,
)
def test_command_of_a_later_version_is_refused_with_a_sentence(ada: Desk, words: tuple[str, ...]) -> None:
    said = ada.run(*words)
    assert (said.code, said.error) == (1, "not_available_yet")
    assert re.fullmatch(r"[A-Z][^\n]+\.", said.lines[0]["error"]["message"])


def test_every_error_code_has_a_hint_and_every_later_command_a_sentence() -> None:
    assert set(HINTS) | {"not_available_yet"} == set(CODES)
    sentences = [value.sentence for value in vars(later).values() if isinstance(value, Later)]
    assert sentences and all(sentence.endswith(".") for sentence in sentences)


def test_every_command_of_the_table_can_be_parsed() -> None:
    said = {id(parse(words).command) for words in SAYABLE}
    asked = [
        value
        for name, value in (vars(commands) | vars(losses)).items()
        if name.startswith("DEVICE") or (name in vars(commands) and name.isupper() and not isinstance(value, str))
    ]
    assert [value for value in asked if id(value) not in said] == []


SAYABLE = [
    line.split()
    for line in """
device approve T
device list
device rename I N
device revoke I
device keep
phrase check
profile show
profile set --name N
contact invite
contact accept T
contact list
contact rename I N
contact block I
contact unblock I
contact verify I
chat new --title T
chat list
chat join I
chat decline I
chat leave I
chat rename I T
chat members I
chat add I C
chat admin I C
chat demote I C
chat remove I C
chat restart I --without C
chat set I history all
delete-chat C
send C T
read C
mark C
edit C I T
delete C I
react C I E
cancel C I
search Q
outbox
import C F
export C F
backup create F
backup verify F
backup restore F
forge-transcript C F O
status
stats
doctor
passphrase
""".strip().splitlines()
]
