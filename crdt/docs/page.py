"""Pages: the Yjs document that the admitted updates of one epoch make, and its export for any Yjs implementation.

`docs/protocol.md`, "Pages".  Pages are built when somebody reads them as documents and are never sent.  Everything that
comes to native code has passed the guard (`admitted_updates`, pure Python) and is applied in a process of its own
(`sync/pages/worker.py`) by `apply_updates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from crdt.docs.guard import Admit, examine
from crdt.docs.ids import client_id
from crdt.docs.kinds import KINDS, DocKind

if TYPE_CHECKING:
    from pycrdt import Doc, Map


class PageEntry(NamedTuple):
    """One update entry of an epoch: feed, seq and its body."""

    core: bytes
    seq: int
    body: bytes


class PageUpdate(NamedTuple):
    """What the guard admitted of one entry.  gone: (root, key) of the puts that must not be in the page."""

    core: bytes
    seq: int
    update: bytes
    gone: tuple[tuple[str, str], ...] = ()


Hides = Callable[[bytes, int, int], bool]  # (core, seq, place in the entry)
Progress = Callable[[int], object]  # called with the place of the update that comes next


def _shown(core: bytes, seq: int, place: int) -> bool:
    return False


def admitted_updates(
    entries: Iterable[PageEntry], kind: DocKind = DocKind.CHAT, hides: Hides = _shown
) -> list[PageUpdate]:
    """What goes into the page of one epoch, in the order of (feed, seq).

    hides: which puts (core, seq, place) are deleted and must not be in the page; an entry all of whose puts are is left
    out, a single put of a larger entry stays as a deleted struct without its content.  Entries that the guard refuses
    or that are of another kind are left out, and so is a second one with a client id already in the page.
    """
    clients: set[int] = set()
    found: list[PageUpdate] = []
    for entry in sorted(entries, key=lambda item: (item.core, item.seq, item.body)):
        verdict = examine(entry.body, entry.core, entry.seq, kind)
        if not isinstance(verdict, Admit):
            continue
        client = client_id(entry.core, entry.seq)
        if client in clients:
            continue
        hidden = [put for place, put in enumerate(verdict.puts) if hides(entry.core, entry.seq, place)]
        if len(hidden) == len(verdict.puts):
            continue
        clients.add(client)
        gone = tuple((put.root, put.key) for put in hidden)
        found.append(PageUpdate(entry.core, entry.seq, entry.body[2:], gone))
    return found


def apply_updates(
    updates: Sequence[PageUpdate], kind: DocKind = DocKind.CHAT, progress: Progress = lambda place: None
) -> Doc[Map[str]]:
    """The Yjs document of these updates, all applied in one transaction.  This is where native code reads them."""
    from pycrdt import Doc, Map  # late: a node that exports nothing never loads it for this

    doc: Doc[Map[str]] = Doc()
    roots = {root: doc.get(root, type=Map) for root in KINDS[kind].roots}
    with doc.transaction():
        for place, update in enumerate(updates):
            progress(place)
            doc.apply_update(update.update)
    progress(len(updates))
    with doc.transaction():
        for update in updates:
            for root, key in update.gone:
                roots[root].pop(key, None)
    return doc


def whole_update(doc: Doc[Map[str]], kind: DocKind = DocKind.CHAT) -> tuple[bytes, int]:
    """A complete Yjs v1 update that opens in an empty document on its own, and how many messages it holds."""
    from pycrdt import Map

    count = len(doc.get("messages", type=Map)) if kind is DocKind.CHAT else 0
    return doc.get_update(), count


def page_content(doc: Doc[Map[str]], kind: DocKind = DocKind.CHAT) -> dict[str, dict[str, str]]:
    """root -> key -> JSON text, of the roots that hold anything."""
    from pycrdt import Map

    found: dict[str, dict[str, str]] = {}
    for root in KINDS[kind].roots:
        content = doc.get(root, type=Map).to_py()
        if content:
            found[root] = content
    return found
