"""A member signs entries whose Yjs updates end a process, forge, overwrite or erase once a document applies them.

The guard (`examine`) admits what sets fresh keys of this very entry and nothing else, so none of it is shown, none gets
into a page, and nothing that anybody else wrote is changed by it; whatever is refused is kept as it is, unread.
"""

from __future__ import annotations

from collections.abc import Callable

from crdt.docs.chat import Message as ChatMessage
from crdt.docs.ids import client_id, document_key
from crdt.docs.page import PageEntry, page_content
from crdt.docs.schema import dump_value
from crdt.docs.yjs import varuint
from crdt.log.entry import Kind, decode_plaintext, open_entry
from sync.space.feed import EntryState
from sync.space.space import Space
from sync.store.port import Table, prefix_end
from tests.support.adversary import CLUB, Cast
from tests.support.liar import work_of
from tests.support.pages import build_page
from tests.unit.docs.values import RawStruct, RawUpdate, string

FORGED = "what Ada never said"
Place = tuple[bytes, int]  # core key, seq


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal = cast.world, cast.ada, cast.mal
    ada.send(CLUB, "what Ada said")
    world.settle()
    (row,) = mal.rows(CLUB)
    before = {device: work_of(device) for device in cast.honest}
    text = dump_value(ChatMessage(mal.rng(16), FORGED))[1]
    for attack in ATTACKS.values():
        body = attack((cast.feed.core, cast.feed.length), (row.core, row.seq), text)
        cast.seals(Kind.UPDATE, body)
    world.settle()
    for device in cast.honest:
        device.restart()  # what is unread is looked at again by a later version, and not by this one
    world.settle()
    cast.promises(also=["what Ada said"], never=[FORGED])
    for device in cast.honest:
        pages = page_content(build_page(_entries(device.space(CLUB))))
        words = "".join(pages["messages"].values())
        assert "what Ada said" in words and FORGED not in words and len(pages["messages"]) == 3
        assert _unread(device.space(CLUB)) == len(ATTACKS)
        work = work_of(device) - before[device]
        assert work.calls < 4000 and work.held < 700_000, work


def _entries(space: Space) -> list[PageEntry]:
    """Every update of the group that opened."""
    found = []
    for core, feed in space.feed_store.feeds.items():
        for seq, entry in enumerate(space.feed_store.entries(feed, 0, feed.length)):
            if entry.state in (EntryState.OPENED, EntryState.UNREAD) and entry.key:
                told = decode_plaintext(open_entry(entry.key, core, space.id, entry.block))
                if told.kind is Kind.UPDATE:
                    found.append(PageEntry(core, seq, told.body))
    return found


def _unread(space: Space) -> int:
    store = space.context.store
    return len(store.scan(Table.UNREAD, space.id, prefix_end(space.id)))


# -- what he writes -----------------------------------------------------------------------------------------------


def _update(at: Place, *structs: RawStruct, client: bytes | None = None, deletes: bytes = b"\0") -> bytes:
    return RawUpdate(client=client or _client(at), structs=structs, deletes=deletes).encode()


def _client(at: Place) -> bytes:
    return varuint(client_id(*at))


def _put(at: Place, text: str, *, info: bytes = b"\x28", origins: bytes = b"", parent: bytes = b"\1") -> RawStruct:
    return RawStruct(info, origins, parent, key=document_key(*at, 0).encode(), content=string(text))


def _holds(at: Place, content: bytes) -> bytes:
    return _update(at, RawStruct(key=document_key(*at, 0).encode(), content=content))


def _nested_types(at: Place, text: str) -> bytes:
    structs = [RawStruct(b"\x27", key=document_key(*at, 0).encode(), content=b"\1")]
    structs += [
        RawStruct(b"\x27", parent=b"\0" + _client(at) + varuint(clock), key=b"k", content=b"\1") for clock in range(60)
    ]
    return _update(at, *structs)


def _erases(at: Place) -> bytes:
    """A delete set with the first thing that this entry said."""
    return b"\1" + _client(at) + b"\1\0\1"


ATTACKS: dict[str, Callable[[Place, Place, str], bytes]] = {
    "nested arrays": lambda at, hers, text: _holds(at, b"\1" + b"\x75\1" * 90_000 + b"\x7e"),
    "nested objects": lambda at, hers, text: _holds(at, b"\1" + b"\x76\1\1k" * 20_000 + b"\x7e"),
    "nested types": lambda at, hers, text: _nested_types(at, text),
    "2^50 values": lambda at, hers, text: _holds(at, varuint(1 << 50)),
    "a string of 2^40": lambda at, hers, text: _holds(at, b"\1\x77" + varuint(1 << 40)),
    "a count of 2^40": lambda at, hers, text: RawUpdate(
        client=_client(at), count=varuint(1 << 40), structs=[]
    ).encode(),
    "2^40 sections": lambda at, hers, text: RawUpdate(sections=varuint(1 << 40), client=_client(at)).encode(),
    "in her place": lambda at, hers, text: _update(hers, _put(hers, text)),
    "under her key": lambda at, hers, text: _update(at, _put(hers, text)),
    "as her client": lambda at, hers, text: _update(at, _put(at, text), client=_client(hers)),
    "before her word": lambda at, hers, text: _update(at, _put(at, text, info=b"\x68", origins=_client(hers) + b"\0")),
    "within her word": lambda at, hers, text: _update(at, _put(at, text, parent=b"\0" + _client(hers) + b"\0")),
    "her word erased": lambda at, hers, text: _update(at, _put(at, text), deletes=_erases(hers)),
    "his word erased": lambda at, hers, text: _update(at, _put(at, text), deletes=_erases(at)),
    "twice": lambda at, hers, text: _update(at, _put(at, text), _put(at, text)),
    "bytes behind": lambda at, hers, text: _update(at, _put(at, text)) + b"\0",
    "another kind": lambda at, hers, text: b"\2" + _update(at, _put(at, text))[1:],
    "a later version": lambda at, hers, text: b"\1\7" + _update(at, _put(at, text))[2:],
}
