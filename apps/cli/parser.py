"""The commands and their arguments, as a table of argparse parsers (`docs/protocol.md`, "Command line").

`--profile` and `--json` stand before or after a command's name.  What follows `--` is never an option: such arguments
are marked before argparse sees them, because its own treatment of `--` differs between Python versions.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn

from apps import VERSION
from apps.cli import backups, commands, later, losses, start
from apps.cli.command import Command, Says
from apps.cli.output import Output
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, KithkinError
from sync.service.times import bounded, day_end, day_start

_LITERAL = "\0"
"""Marks an argument that stood behind `--`; no argument of a process can hold it otherwise."""
MAX_WAIT = 7 * 86_400
TOLD_SECONDS = 5.0  # that a command waits while others hear of a device that is out
MAX_COUNT = 1_000_000
MAX_NODES = 1_000


class Parser(argparse.ArgumentParser):
    """Raises KithkinError `usage` instead of leaving the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        # argparse lists every choice; the command's own help does that better.
        message = message.replace(_LITERAL, "").partition(" (choose from")[0]
        raise KithkinError("usage", f"{self.prog}: {message}.")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises KithkinError `usage`; SystemExit(0) after `--help` and `--version`."""
    words = list(argv)
    if "--" in words:
        at = words.index("--")
        words[at:] = [_LITERAL + word if word.startswith("-") and word != "-" else word for word in words[at + 1 :]]
    args = build().parse_args(words)
    for name, value in vars(args).items():
        if isinstance(value, str):
            setattr(args, name, value.removeprefix(_LITERAL))
        elif isinstance(value, list):
            setattr(args, name, [word.removeprefix(_LITERAL) for word in value])
    return args


def wants_json(argv: Sequence[str]) -> bool:
    """Whether errors of an unreadable command line are to be JSON."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in options


def default_profile() -> Path:
    """Where the profile is when the command line does not say.  Raises KithkinError `usage` where nothing says."""
    named, data = os.environ.get("KITHKIN_PROFILE"), os.environ.get("XDG_DATA_HOME")
    if named:
        return Path(named)
    if data:
        return Path(data) / "kithkin"
    try:
        if os.environ.get("HOME") == "":
            raise RuntimeError("no home folder")
        return Path.home() / ".local" / "share" / "kithkin"
    except RuntimeError:
        sentence = "There is no home folder here: name a profile with --profile or KITHKIN_PROFILE."
        raise KithkinError("usage", sentence) from None


def folder(text: str) -> Path:
    if not _plain(text):
        raise ValueError(text)
    return Path(_plain(text))


def count(text: str) -> int:
    number = int(text)
    if not 0 < number <= MAX_COUNT:
        raise ValueError(text)
    return number


def nodes(text: str) -> int:
    number = int(text)
    if not 0 < number <= MAX_NODES:
        raise ValueError(text)
    return number


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65_536:
        raise ValueError(text)
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_WAIT:
        raise ValueError(text)
    return number


def lasting(text: str) -> float:
    number = float(text)
    if not 0 < number <= 365 * 86_400:
        raise ValueError(text)
    return number


def since(text: str) -> datetime:
    """A day begins at its midnight, in the local zone."""
    return _moment(text, end=False)


def until(text: str) -> datetime:
    """A day given as an end belongs to the range."""
    return _moment(text, end=True)


def _moment(text: str, *, end: bool) -> datetime:
    """end: of a day that stands without a time, its last moment."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return bounded(datetime.fromisoformat(text))
    return day_end(day) if end else day_start(day)


def _plain(text: str) -> str:
    return text.removeprefix(_LITERAL)


def common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The options of every command.  Below the top they leave no default, so that either place sets them."""
    unset: Any = argparse.SUPPRESS
    parser.add_argument(
        "--profile", type=folder, metavar="DIR", default=None if top else unset, help="the profile's folder"
    )
    parser.add_argument("--json", action="store_true", default=False if top else unset, help="one JSON object a line")


class Group:
    """Commands below one name."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._below = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def group(self, name: str, help: str) -> Group:
        parser = self._below.add_parser(name, help=help, description=help)
        common(parser, top=False)
        return Group(parser)

    def add(self, name: str, command: Command, help: str, *positionals: str) -> argparse.ArgumentParser:
        parser = self._below.add_parser(name, help=help, description=help)
        common(parser, top=False)
        for positional in positionals:
            parser.add_argument(positional.lower(), metavar=positional)
        parser.set_defaults(command=command)
        return parser


def build() -> Parser:
    parser = Parser(
        prog="kithkin", description="Chat and sync between your devices and your contacts, without a server."
    )
    parser.add_argument("--version", action="version", version=f"kithkin {VERSION}")
    common(parser, top=True)
    top = Group(parser)
    _own(top)
    _people(top)
    _chats(top)
    _messages(top)
    _rest(top)
    return parser


def show_help(out: Output) -> None:
    """The same as `--help`."""
    out.help(build().format_help())


def _network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", metavar="A", help="the address to bind (all of them)")
    parser.add_argument(
        "--advertise", metavar="A", help="the address to tell peers, if it is another one; none: tell none"
    )
    _bootstrap(parser)


def _bootstrap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bootstrap", metavar="H:P", action="append", help="a DHT node to start from; may be repeated; none: no DHT"
    )


def _wait(parser: argparse.ArgumentParser, default: float) -> None:
    parser.add_argument("--wait", type=seconds, metavar="S", default=default, help=f"seconds at most ({default:g})")


def _own(top: Group) -> None:
    init = top.add("init", start.INIT, "make a new profile")
    init.add_argument("--name", metavar="N", required=True, help="how contacts see you")
    init.add_argument("--recover", action="store_true", help="from the 24 words on standard input")
    init.add_argument(
        "--keep", metavar="NAME", action="append", help="with --recover: a device that stays yours; may be repeated"
    )
    _network(init)
    _wait(init, WAIT_SECONDS)
    run = top.add("run", start.RUN, "run the node of this profile")
    run.add_argument("--port", type=port, metavar="P", default=0, help="UDP port (the profile's)")
    _network(run)
    link = top.add("link", start.LINK, "make this a further device of an existing profile")
    link.add_argument("--name", metavar="N", help="this device's name")
    _network(link)
    _wait(link, WAIT_SECONDS)
    device = top.group("device", "your devices")
    approve = device.add("approve", commands.DEVICE_APPROVE, "let a new device in", "TEXT")
    approve.add_argument("--history", choices=("all", "none"), default="all", help="what it may read of the past (all)")
    approve.add_argument("--yes", action="store_true", help="do not ask")
    _bootstrap(approve)
    _wait(approve, WAIT_SECONDS)
    device.add("list", commands.DEVICE_LIST, "your devices")
    device.add("rename", commands.DEVICE_RENAME, "rename a device", "ID", "NAME")
    revoke = device.add("revoke", losses.DEVICE_REVOKE, "shut a device out: lost, stolen, or not yours", "ID")
    revoke.add_argument("--yes", action="store_true", help="do not ask")
    _wait(revoke, TOLD_SECONDS)
    keep = device.add(
        "keep",
        losses.DEVICE_KEEP,
        "by your 24 words on standard input: this device and those stay, all others are out",
    )
    keep.add_argument("id", metavar="ID", nargs="*")
    phrase = top.group("phrase", "your 24 words")
    phrase.add("check", commands.PHRASE_CHECK, "whether the words on standard input are this profile's")
    profile = top.group("profile", "your name and what you say about yourself; the whole profile")
    profile.add("show", commands.PROFILE_SHOW, "show it")
    change = profile.add("set", commands.PROFILE_SET, "change it")
    change.add_argument("--name", metavar="N")
    change.add_argument("--about", metavar="T")
    change.add_argument("--picture", type=folder, metavar="FILE")
    erase = profile.add("erase", start.PROFILE_ERASE, "erase everything of this profile from this machine")
    erase.add_argument("--yes", action="store_true", help="do not ask")


def _people(top: Group) -> None:
    contact = top.group("contact", "your contacts")
    invite = contact.add("invite", commands.CONTACT_INVITE, "an invite for one person")
    invite.add_argument(
        "--expires", type=lasting, metavar="S", default=INVITE_SECONDS, help="seconds it holds (7 days)"
    )
    accept = contact.add("accept", commands.CONTACT_ACCEPT, "accept an invite", "TEXT")
    _bootstrap(accept)
    _wait(accept, WAIT_SECONDS)
    contact.add("list", commands.CONTACT_LIST, "your contacts")
    contact.add("rename", commands.CONTACT_RENAME, "your own name for a contact", "ID", "NAME")
    contact.add("block", commands.CONTACT_BLOCK, "no connections, messages or offers from a contact", "ID")
    contact.add("unblock", commands.CONTACT_UNBLOCK, "take a block back", "ID")
    verify = contact.add("verify", commands.CONTACT_VERIFY, "the safety number to compare", "ID")
    verify.add_argument("--confirm", action="store_true", help="we compared it, it is the same")


def _chats(top: Group) -> None:
    chat = top.group("chat", "your chats")
    new = chat.add("new", commands.CHAT_NEW, "a new group")
    new.add_argument("--title", metavar="T", required=True)
    new.add_argument("contacts", metavar="CONTACT", nargs="*")
    chat.add("list", commands.CHAT_LIST, "all chats")
    chat.add("join", commands.CHAT_JOIN, "accept an offer", "ID")
    chat.add("decline", commands.CHAT_DECLINE, "refuse an offer", "ID")
    chat.add("leave", commands.CHAT_LEAVE, "leave a group", "ID")
    chat.add("rename", commands.CHAT_RENAME, "another title", "ID", "TITLE")
    chat.add("members", commands.CHAT_MEMBERS, "who is in it", "ID")
    chat.add("add", commands.CHAT_ADD, "offer it to a contact", "ID", "CONTACT")
    chat.add("remove", commands.CHAT_REMOVE, "remove a member; they keep what they have", "ID", "CONTACT")
    chat.add("admin", commands.CHAT_ADMIN, "make a member an admin", "ID", "CONTACT")
    chat.add("demote", commands.CHAT_DEMOTE, "make an admin a member again", "ID", "CONTACT")
    restart = chat.add("restart", commands.CHAT_RESTART, "go on in a new group: its creator lost every device", "ID")
    restart.add_argument("--without", action="append", metavar="CONTACT", default=[], help="somebody to leave out")
    chat.add("set", commands.CHAT_SET, "history (all, none) or lifetime (seconds, 0 = for ever)", "ID", "KEY", "VALUE")


def _messages(top: Group) -> None:
    send = top.add("send", commands.SEND, "write a message", "CHAT", "TEXT")
    send.add_argument("--file", type=folder, metavar="PATH")
    send.add_argument("--reply", metavar="ID")
    read = top.add("read", commands.READ, "read a chat, oldest first", "CHAT")
    read.add_argument("--limit", type=count, metavar="N", default=50)
    place = read.add_mutually_exclusive_group()
    place.add_argument("--before", metavar="ID")
    place.add_argument("--after", metavar="ID")
    _wait(read, 0.0)
    top.add("mark", commands.MARK, "mark as read", "CHAT").add_argument("--upto", metavar="ID")
    top.add("edit", commands.EDIT, "change a message of yours", "CHAT", "ID", "TEXT")
    delete = top.add(
        "delete", commands.DELETE, "delete a message: for you, others keep theirs; or for everyone", "CHAT", "ID"
    )
    delete.add_argument("--everyone", action="store_true")
    top.add("delete-chat", commands.DELETE_CHAT, "delete a chat from your devices; others keep theirs", "CHAT")
    top.add("react", commands.REACT, "react to a message", "CHAT", "ID", "EMOJI")
    top.add("cancel", commands.CANCEL, "withdraw a message that nobody has yet", "CHAT", "ID")
    file = top.group("file", "files in messages")
    file.add("save", later.FILE_SAVE, "save a file", "CHAT", "ID", "PATH")
    search = top.add("search", commands.SEARCH, "find messages by whole words; word* is a prefix", "QUERY")
    search.add_argument("--chat", metavar="C")
    search.add_argument("--from", dest="author", metavar="P", help="a person, or the source of imported lines")
    search.add_argument("--since", type=since, metavar="D", help="ISO 8601; a day, or a moment")
    search.add_argument("--until", type=until, metavar="D", help="the same; a day is included")
    search.add_argument("--sort", choices=("time", "score"), default="time")
    search.add_argument("--limit", type=count, metavar="N", default=20)
    top.add("outbox", commands.OUTBOX, "what is not delivered yet")
    load = top.add("import", commands.IMPORT, "lines {at, from, text} of a JSONL file as messages", "CHAT", "FILE")
    load.add_argument("--skip-bad", action="store_true", help="leave bad lines out")
    export = top.add(
        "export", commands.EXPORT, "write a chat, or its signed feeds, to a file; its pages to a folder", "CHAT"
    )
    export.add_argument("file", metavar="FILE")
    export.add_argument("--format", choices=("jsonl", "yjs", "feeds"), default="jsonl")
    export.add_argument("--force", action="store_true", help="replace FILE")


def _rest(top: Group) -> None:
    top.add("status", commands.STATUS, "the node and its peers")
    top.add("stats", commands.STATS, "messages per person and month, storage per chat")
    secret = top.add("passphrase", commands.PASSPHRASE, "another passphrase, or the keyring")
    secret.add_argument("--new-file", type=folder, metavar="PATH", help="the file that holds the new one")
    secret.add_argument("--keyring", choices=("on", "off"), help="whether the OS keyring opens the profile")
    doctor = top.add("doctor", commands.DOCTOR, "check the profile")
    doctor.add_argument("--repair", action="store_true")
    backup = top.group("backup", "backups: everything of this device in one encrypted file")
    backup.add("create", backups.CREATE, "write a backup, or what is new into the one that is there", "FILE")
    backup.add("verify", backups.VERIFY, "read a whole backup and check it", "FILE")
    restore = backup.add("restore", backups.RESTORE, "make a profile out of a backup, as a new device of yours", "FILE")
    restore.add_argument("--salvage", action="store_true", help="take what a damaged backup still holds")
    relay = top.group("relay", "relays (not yet)")
    relay_run = relay.add("run", later.RELAY, "run a relay")
    relay_run.add_argument("--port", type=port, metavar="P")
    relay_run.add_argument("--quota", type=int, metavar="BYTES")
    relay.add("use", later.RELAY, "use a relay", "TEXT")
    testnet = top.add("testnet", start.TESTNET, "a DHT of your own on this machine, until you end it")
    testnet.add_argument("--size", type=nodes, metavar="N", required=True, help=f"nodes, at most {MAX_NODES}")
    testnet.add_argument("--port", type=port, metavar="P", default=0, help="UDP port of the first (any)")
    _network(top.add("desktop", start.DESKTOP, "start the desktop app"))
    _network(top.add("phone", start.PHONE, "start the phone app"))
    forge = top.add(
        "forge-transcript", commands.FORGE, "signed feeds with texts that nobody wrote", "CHAT", "FILE", "OUT"
    )
    forge.add_argument("--force", action="store_true", help="replace OUT")
    top.add("help", Says(show_help), "this list of commands")
    top.add("version", start.SHOW_VERSION, "the version of this program")
    top.add("demo", start.DEMO, "the story of a phone, a desktop and a friend")
