"""Pages: the Yjs document that the admitted updates of one epoch make, and its export for any Yjs implementation.

`docs/protocol.md`, "Pages".  Pages are built when somebody reads them as documents and are never sent.  Everything that
comes here has passed the guard: native code sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pycrdt import Doc, Map

from crdt.docs.guard import Admit, examine
from crdt.docs.ids import client_id
from crdt.docs.kinds import KINDS, DocKind


class PageEntry(NamedTuple):
    """One update entry of an epoch: feed, seq and its body."""

    core: bytes
    seq: int
    body: bytes


Hides = Callable[[bytes, int, int], bool]  # (core, seq, place in the entry)


def _shown(core: bytes, seq: int, place: int) -> bool:
    return False


def build_page(entries: Iterable[PageEntry], kind: DocKind = DocKind.CHAT, hides: Hides = _shown) -> Doc[Map[str]]:
    """The Yjs document of one epoch's update entries, all applied in one transaction, in the order of (feed, seq).

    hides: which puts (core, seq, place) are deleted and must not be in the page; an entry all of whose puts are is left
    out, a single put of a larger entry stays as a deleted struct without its content.  Entries that the guard refuses
    or that are of another kind are left out, and so is a second one with a client id already in the page.
    """
    clients: set[int] = set()
    roots: dict[str, Map[str]] = {}
    gone: list[tuple[str, str]] = []
    doc: Doc[Map[str]] = Doc()
    for root in KINDS[kind].roots:
        roots[root] = doc.get(root, type=Map)
    with doc.transaction():
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
            doc.apply_update(entry.body[2:])
            gone += [(put.root, put.key) for put in hidden]
    with doc.transaction():
        for root, key in gone:
            roots[root].pop(key, None)
    return doc


def export_page(entries: Iterable[PageEntry], kind: DocKind = DocKind.CHAT, hides: Hides = _shown) -> tuple[bytes, int]:
    """A complete Yjs v1 update that opens in an empty document on its own, and how many messages it holds."""
    doc = build_page(entries, kind, hides)
    count = len(doc.get("messages", type=Map)) if kind is DocKind.CHAT else 0
    return doc.get_update(), count


def page_content(doc: Doc[Map[str]], kind: DocKind = DocKind.CHAT) -> dict[str, dict[str, str]]:
    """root -> key -> JSON text, of the roots that hold anything."""
    found: dict[str, dict[str, str]] = {}
    for root in KINDS[kind].roots:
        content = doc.get(root, type=Map).to_py()
        if content:
            found[root] = content
    return found
