"""How results look to people: one function a model, aligned columns, local times, nothing that steers the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from apps.cli.record import model_of
from apps.cli.safe import escaped, one_line
from sync.service.plural import counted
from sync.service.times import local

if TYPE_CHECKING:
    from apps.cli.record import Said
    from sync.service import models as m

Show = TypeVar("Show", bound=Callable[..., str])
_SHOWS: dict[str, Callable[[Any, Page], str]] = {}  # name of a model -> its text

BOLD, DIM, GREEN, YELLOW, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_COLOURS = {
    "active": GREEN,
    "delivered": GREEN,
    "read": GREEN,
    "queued": YELLOW,
    "pending": YELLOW,
    "invited": YELLOW,
    "expired": YELLOW,
    "revoked": DIM,
    "left": DIM,
    "removed": DIM,
}


def render(value: Said, *, colour: bool) -> str:
    """The text for one result, without a final line end."""
    return Page(colour).show(value)


def when(at: datetime | str | None) -> str:
    """A time in the local zone; from a record it comes as ISO 8601."""
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return local(at).isoformat(" ", "minutes")[:16] if at else "never"


def width(text: str) -> int:
    """Columns on a terminal: wide characters and emoji sequences take two, marks and joiners none."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth, wcwidth  # late: its tables are large, and most cells are ASCII

    columns = wcswidth(text)
    return columns if columns >= 0 else sum(max(wcwidth(char), 0) for char in text)


class Page:
    """Knows whether colours are wanted; every method is a small piece of layout."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def show(self, value: Said) -> str:
        return _SHOWS.get(model_of(value), small)(value, self)

    def paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colour and colour else text

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> str:
        """Columns as wide as their widest cell; cells are made safe here."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        if not cells:
            return empty
        widths = [max(width(row[at]) for row in [list(head), *cells]) for at in range(len(head))]
        lines = [self.paint(self._row(head, widths), DIM)]
        for row in cells:
            lines.append(self._row(row, widths, _COLOURS))
        return "\n".join(lines)

    def _row(self, row: Sequence[str], widths: Sequence[int], colours: dict[str, str] | None = None) -> str:
        padded = [cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)]
        if colours:
            padded = [self.paint(cell, colours.get(cell.strip(), "")) for cell in padded]
        return "  ".join(padded).rstrip()

    def pairs(self, rows: Iterable[tuple[str, str]]) -> str:
        rows = list(rows)
        wide = max(width(name) for name, _ in rows)
        return "\n".join(
            f"{self.paint(name + ' ' * (wide - width(name)), DIM)}  {one_line(text)}" for name, text in rows
        )


def shows(function: Show) -> Show:
    """Makes it the text of the model with whose name its `value` is annotated."""
    _SHOWS[function.__annotations__["value"].removeprefix("m.")] = function
    return function


def small(value: Said, page: Page) -> str:
    """Small answers are one line of names and values."""
    return "  ".join(f"{name} {one_line(str(text))}" for name, text in value.model_dump(mode="json").items())


@shows
def _(value: m.Created, page: Page) -> str:
    words = value.phrase.split()
    rows = ["  ".join(f"{at + 1:>2} {words[at]:<10}" for at in range(row, len(words), 6)).rstrip() for row in range(6)]
    return "\n".join(
        [
            page.pairs([("identity", value.identity), ("device", value.device)]),
            "",
            "These 24 words are shown once and kept nowhere: write them down on paper.",
            "They bring your identity, contacts and chats back when every device is lost: `kithkin init --recover`.",
            "",
            *rows,
            "",
            "Next: `kithkin run`, then `kithkin contact invite`.",
        ]
    )


@shows
def _(value: m.Recovered, page: Page) -> str:
    return "\n".join(
        [
            page.pairs([("identity", value.identity), ("device", value.device)]),
            "",
            "This device is yours again, and every other one is shut out.",
            "Next: `kithkin run`. It looks for a contact or device that keeps your contacts and chats, and says so.",
            "Then `kithkin device keep NAME` keeps the devices that you still have.",
        ]
    )


@shows
def _(value: m.PhraseChecked, page: Page) -> str:
    return f"Right: these are the words of {value.identity}."


@shows
def _(value: m.Testnet, page: Page) -> str:
    nodes = f"{counted(value.size, 'node')} {'runs' if value.size == 1 else 'run'}"
    return f"{nodes}; give the others: --bootstrap {value.bootstrap}"


@shows
def _(value: m.Version, page: Page) -> str:
    return f"kithkin {value.version}"


@shows
def _(value: m.Ready, page: Page) -> str:
    return f"ready at {value.address} as {value.device}  (Ctrl-C ends it)"


@shows
def _(value: m.Linked, page: Page) -> str:
    return (
        f"Linked: this is now {value.device} of {value.identity}.\n"
        "Start `kithkin run` here to get your chats and contacts."
    )


@shows
def _(value: m.Wrong, page: Page) -> str:
    return f"Those digits are not right; {value.left} more {'try' if value.left == 1 else 'tries'}."


@shows
def _(value: m.Digits, page: Page) -> str:
    return f"Type these digits on the new device:  {page.paint(f'{value.code[:3]} {value.code[3:]}', BOLD)}"


@shows
def _(value: m.Approved, page: Page) -> str:
    return f"Done: {value.device} is one of your devices."


@shows
def _(value: m.Revoked, page: Page) -> str:
    told = f"\nTold: {names(value.told)}." if value.told else ""
    waiting = f"\nNot yet told, as they are not connected: {names(value.waiting)}." if value.waiting else ""
    return (
        f"Done: {value.revoked} is shut out, and new keys are in use in {value.spaces} chats and lists.{told}{waiting}"
    )


@shows
def _(value: m.Kept, page: Page) -> str:
    kept = f"These stay beside this device: {', '.join(value.kept)}." if value.kept else "This device alone stays."
    out = f"\nShut out: {', '.join(value.out)}." if value.out else ""
    return f"{kept}{out}\nA device that was shut out before is back once it meets this one: `kithkin run` on both."


def names(several: list[str]) -> str:
    """Names as a sentence lists them."""
    return ", ".join(map(one_line, several))


@shows
def _(value: m.ProfileErased, page: Page) -> str:
    rest = f" Its folder stays, with {counted(value.left, 'thing')} that are not of the profile." if value.left else ""
    return f"Erased: nothing of this profile is left on this machine.{rest}"


@shows
def _(value: m.Changed, page: Page) -> str:
    return "Changed."


@shows
def _(value: m.Devices, page: Page) -> str:
    rows = [
        (
            device.id,
            device.name + (" (this)" if device.this else ""),
            device.state + (f", not yet known to {names(device.waiting)}" if device.waiting else ""),
            when(device.added) if device.added else "-",
            when(device.last_seen),
        )
        for device in value.devices
    ]
    return page.table(("id", "name", "state", "added", "last seen"), rows, "No devices.")


@shows
def _(value: m.PublicProfile, page: Page) -> str:
    return page.pairs([("identity", value.identity), ("name", value.name), ("about", value.about or "-")])


@shows
def _(value: m.Contacts, page: Page) -> str:
    rows = [
        (one.id, one.name, "blocked" if one.blocked else one.state, "verified" if one.verified else "-")
        for one in value.contacts
    ]
    return page.table(
        ("id", "name", "state", "verified"), rows, "No contacts yet: `kithkin contact invite` makes an invite."
    )


@shows
def _(value: m.Accepted, page: Page) -> str:
    return f"You are in contact with {value.contact}; write with `kithkin send {value.chat} TEXT`."


@shows
def _(value: m.Safety, page: Page) -> str:
    groups = value.safety_number.split()
    rows = ["  ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]
    said = "verified" if value.verified else "not verified: compare them with your contact, then add --confirm"
    return "\n".join([*rows, said])


@shows
def _(value: m.Chats, page: Page) -> str:
    rows = [
        (
            one.id,
            one.title,
            one.kind,
            one.state,
            str(one.members),
            str(one.unread) if one.unread else "-",
            when(one.last),
        )
        for one in value.chats
    ]
    table = page.table(("id", "title", "kind", "state", "members", "unread", "last"), rows, "No chats.")
    told = [f"{one_line(one.title)}: {one_line(one.notice)}" for one in value.chats if one.notice]
    return "\n".join([table, *told])


@shows
def _(value: m.Restarted, page: Page) -> str:
    said = "The chat goes on in a new group that you lead. Its history stays where it is."
    return f"{said}\n{value.asks}" if value.asks else said


@shows
def _(value: m.Members, page: Page) -> str:
    twice = {True: ", runs twice", False: ""}
    proved = {True: "yes", False: "no"}
    rows = [(one.id, one.name, one.role, one.state + twice[one.forked], proved[one.proved]) for one in value.members]
    table = page.table(("id", "name", "role", "state", "proved"), rows, "Nobody.")
    return f"{table}\n{one_line(value.reason)}" if value.reason else table


@shows
def _(value: m.Messages, page: Page) -> str:
    if not value.messages:
        return "No messages."
    lines = ["…"] if value.more else []
    lines += [message for one in value.messages for message in _message(one, page)]
    return "\n".join(lines)


def _message(one: m.Message, page: Page) -> list[str]:
    name = _shown_author(one)
    said = [
        (one.state, one.state != "received"),
        ("edited", one.edited),
        ("late", one.late),
        ("clock ahead", one.ahead),
    ]
    said += [("unchecked", not one.checked), ("not covered", one.covered is False)]
    marks = [word for word, holds in said if holds]
    head = f"{page.paint(when(one.at), DIM)}  {page.paint(name, BOLD)}"
    head += f"  {page.paint(' '.join(marks), DIM)}" if marks else ""
    body = [_deleted(one)] if one.deleted else escaped(one.text).split("\n")
    if one.reply_to is not None:
        body.insert(0, f"reply to {one.reply_to}")
    if one.reactions:
        body.append("  ".join(f"{one_line(mark)} {len(who)}" for mark, who in sorted(one.reactions.items())))
    return [f"{head}  {page.paint(one.id, DIM)}", *(f"    {line}" for line in body)]


def _deleted(one: m.Message) -> str:
    if one.erased is None:
        return "(deleted)"
    return f"(deleted on {one.erased.devices} of {counted(one.erased.of_devices, 'device')})"


def _shown_author(one: m.Message | m.Hit) -> str:
    """The author, and whom it quotes: what somebody says of a text's origin never stands in an author's place."""
    name = one_line(one.author_name or one.author)
    return name if one.source is None else f"{name} (quoting {one_line(one.source)})"


@shows
def _(value: m.Hits, page: Page) -> str:
    lines = [
        f"{page.paint(when(hit.at), DIM)}  {page.paint(_shown_author(hit), BOLD)}  "
        f"{one_line(hit.snippet)}  {page.paint(f'{hit.chat} {hit.id}', DIM)}"
        for hit in value.hits
    ]
    return "\n".join([*lines, f"{value.total} found in {value.took_ms:.0f} ms"])


@shows
def _(value: m.Outbox, page: Page) -> str:
    rows = [(one.id, one.chat, one.state, f"{one.delivered} of {one.devices}") for one in value.pending]
    return page.table(("id", "chat", "state", "delivered"), rows, "Everything is delivered.")


@shows
def _(value: m.Status, page: Page) -> str:
    online = f"yes, at {value.address}" if value.online and value.address else "yes" if value.online else OFFLINE
    rows = [
        ("identity", value.identity),
        ("name", value.name or "-"),
        ("device", value.device),
        *([("shut out", value.out)] if value.out else []),
        ("online", online),
        *network_rows(value.dht),
        ("outbox", str(value.pending)),
        (
            "recovery",
            f"the 24 words, and {counted(value.kept_by, 'contact')} with a copy of your contacts and chats"
            + (f" but {value.not_kept}, which were quiet longest" if value.not_kept else ""),
        ),
        ("stored", f"{counted(value.entries, 'entry', 'entries')} in {counted(value.feeds, 'feed')}"),
    ]
    rows += [("peer", peer_row(peer)) for peer in value.peers]
    rows += [("not covered", f"{one_line(one.title)}: {one_line(one.reason)}") for one in value.uncovered]
    return page.pairs(rows)


OFFLINE = "no: start `kithkin run` to connect"


@shows
def _(value: m.ReadUpto, page: Page) -> str:
    if value.read_upto is None:
        return "There is nothing to mark as read."
    return f"Read up to {one_line(value.read_upto)}."


NATS = {
    "unknown": "not known yet",
    "open": "none: anybody reaches this device",
    "consistent": "one port for all peers: holes can be punched",
    "random": "another port for each peer: holes are hard to punch",
}


def network_rows(dht: m.Dht) -> list[tuple[str, str]]:
    """What this device's network looks like from outside."""
    if not dht.enabled:
        return [("dht", "off: addresses known" + (" and the local network" if dht.lan else ""))]
    state = (
        f"{counted(dht.nodes, 'node')}, {'guest' if dht.ephemeral else 'serving'}" if dht.bootstrapped else "connecting"
    )
    rows = [("dht", f"{state}, at {dht.topics} topics"), ("nat", NATS[dht.nat])]
    if dht.address is not None:
        rows.append(("seen at", f"{dht.address}{'' if dht.reachable else ', not reachable without a hole'}"))
    if dht.relays:
        rows.append(("found by", ", ".join(dht.relays)))
    if dht.lan:
        rows.append(("lan", "looked for and found there"))
    return rows


def peer_row(peer: m.Peer) -> str:
    how: list[str] = [peer.path] if peer.path is not None else []
    how += [f"{peer.rtt_ms:.1f} ms"] if peer.rtt_ms is not None else []
    return f"{peer.device} {peer.name} {peer.address}" + (f"  ({', '.join(how)})" if how else "")


@shows
def _(value: m.Stats, page: Page) -> str:
    people = [(one.month, one.name or one.identity, str(one.messages)) for one in value.messages]
    kept = {one.chat: f"{one.kept} for others" if one.kept else "" for one in value.storage}
    chats = [(one.title or one.chat, str(one.messages), _size(one.bytes), kept[one.chat]) for one in value.storage]
    return "\n\n".join(
        [
            page.table(("month", "who", "messages"), people, "No messages yet."),
            page.table(("chat", "messages", "stored", "deleted, kept"), chats, "Nothing stored."),
        ]
    )


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


@shows
def _(value: m.Checks, page: Page) -> str:
    rows = [("ok" if check.ok else "BAD", check.name, check.detail) for check in value.checks]
    return page.table(("", "check", "detail"), rows, "Nothing to check.")


@shows
def _(value: m.Payload, page: Page) -> str:
    return value.payload


@shows
def _(value: m.Invite, page: Page) -> str:
    return f"{value.invite}\n\nFor one person, until {when(value.expires)}."


@shows
def _(value: m.MessageEvent, page: Page) -> str:
    return "\n".join(_message(value.message, page)) if value.new else ""


@shows
def _(value: m.GoneEvent, page: Page) -> str:
    return f"message {value.id} is gone"


@shows
def _(value: m.GapEvent, page: Page) -> str:
    return "events were lost here"


@shows
def _(value: m.StatusEvent, page: Page) -> str:
    return f"{value.id}  {value.state}  {value.delivered} of {value.devices}"


@shows
def _(value: m.PeerEvent, page: Page) -> str:
    name = one_line(value.peer.name or value.peer.device)
    return f"{'connected to' if value.connected else 'lost'} {name} at {value.peer.address}"


@shows
def _(value: m.DeviceEvent, page: Page) -> str:
    return f"device {value.device.id} {one_line(value.device.name)}: {one_line(value.notice or value.device.state)}"


@shows
def _(value: m.ContactEvent, page: Page) -> str:
    said = one_line(value.notice or value.contact.state)
    return f"contact {value.contact.id} {one_line(value.contact.name)}: {said}"


@shows
def _(value: m.ChatEvent, page: Page) -> str:
    return f"chat {value.chat.id} {one_line(value.chat.title)}: {value.chat.state}"


@shows
def _(value: m.ProgressEvent, page: Page) -> str:
    return f"{one_line(value.what)} {value.done}" + (f" of {value.total}" if value.total else "")


@shows
def _(value: m.BackedUp, page: Page) -> str:
    if value.written:
        said = f"{value.written / 1e6:,.1f} MB written, {value.bytes / 1e6:,.1f} MB in all"
    else:
        said = f"{value.bytes / 1e6:,.1f} MB, every byte as it was written"
    return f"{page.paint('The backup is whole', GREEN)}: {counted(value.messages, 'message')}, {said}."


@shows
def _(value: m.Restored, page: Page) -> str:
    lost = f"\nNot restored: {one_line(value.lost)}." if value.lost else ""
    return (
        f"Restored as a new device of yours, {one_line(value.device)}.{lost}\n"
        "The device that the backup is of is signed out as soon as others hear of this one: `kithkin run` tells them."
    )
