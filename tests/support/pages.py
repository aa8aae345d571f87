"""Pages built in this process, for tests whose bytes are their own."""

from __future__ import annotations

from collections.abc import Iterable

from pycrdt import Doc, Map

from crdt.docs.kinds import DocKind
from crdt.docs.page import Hides, PageEntry, admitted_updates, apply_updates, whole_update


def shows_all(core: bytes, seq: int, place: int) -> bool:
    return False


def build_page(entries: Iterable[PageEntry], kind: DocKind = DocKind.CHAT, hides: Hides = shows_all) -> Doc[Map[str]]:
    return apply_updates(admitted_updates(entries, kind, hides), kind)


def export_page(
    entries: Iterable[PageEntry], kind: DocKind = DocKind.CHAT, hides: Hides = shows_all
) -> tuple[bytes, int]:
    return whole_update(build_page(entries, kind, hides), kind)
