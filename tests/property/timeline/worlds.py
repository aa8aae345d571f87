"""Random chats for the folds: two members with three feeds, an admin, a stranger; and a store as an engine keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from crdt.docs.chat import Edit, Message, Reaction, Receipt
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.docs.facts import ABOUT_MESSAGE, Fact, FactKind, block_prefix, decode_fact, facts_of, facts_of_deletion
from crdt.docs.guard import Admit
from crdt.docs.ids import document_key, message_id, writer_id
from crdt.docs.kinds import DocKind
from crdt.docs.rows import Row, decode_row
from crdt.docs.schema import ChatValue, dump_value
from crdt.docs.timeline import TimelinePolicy, fold_message, messages_of
from crdt.docs.yjs import Put

PHONE, DESK, BEN, ADMIN, STRANGER = (bytes([n]) * 32 for n in range(1, 6))
MEMBER = {PHONE: b"ada", DESK: b"ada", BEN: b"ben", ADMIN: b"admin"}
MEMBERS = {core: name.ljust(32, b".") for core, name in MEMBER.items()}
AUTHOR_CORE = {PHONE: PHONE, DESK: PHONE, BEN: BEN, ADMIN: ADMIN, STRANGER: STRANGER}
LEAF = bytes(32)
NONCES = [bytes([n]) * 16 for n in range(3)]
IDS = [message_id(core, nonce) for core in (PHONE, BEN, ADMIN, STRANGER) for nonce in NONCES]
T0 = 1_790_000_000_000 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    core: bytes
    seq: int
    stamp: int
    values: tuple[ChatValue, ...] = ()
    deletion: Deletion | None = None

    def facts(self) -> list[Fact]:
        arrived = (self.stamp >> 16) + 5
        if self.deletion is not None:
            body = encode_deletion(self.deletion)
            return facts_of_deletion(body, self.core, self.seq, self.stamp, arrived)
        puts = [
            Put(root, document_key(self.core, self.seq, place), text)
            for place, (root, text) in enumerate(dump_value(value) for value in self.values)
        ]
        admit = Admit(DocKind.CHAT, tuple(puts))
        return facts_of(admit, AUTHOR_CORE[self.core], self.core, self.seq, self.stamp, arrived)


words = st.sampled_from(["one", "two", "three"])
targets = st.sampled_from(IDS[:2] + IDS[3:5])  # few, so that they meet
messages = st.builds(
    Message, st.sampled_from(NONCES), words, st.none() | targets, lifetime=st.none() | st.integers(1, 9)
)
chat_values = st.one_of(
    messages,
    messages,
    st.builds(Edit, targets, words),
    st.builds(Reaction, targets, st.sampled_from("👍👎"), st.booleans()),
    st.builds(lambda seq: Receipt(((writer_id(BEN), seq),)), st.integers(0, 9)),
)
blocks = st.builds(Block, st.sampled_from([PHONE, DESK, BEN, ADMIN, STRANGER]), st.integers(0, 5), st.just(LEAF))
deletions = st.builds(lambda one, more: Deletion(one, tuple(more)), targets, st.lists(blocks, max_size=2))


@st.composite
def worlds(draw: st.DrawFn) -> list[Entry]:
    """Entries of every feed, stamps rising in each and often equal across feeds."""
    entries = []
    for core in AUTHOR_CORE:
        stamp = T0
        for seq in range(draw(st.integers(0, 6))):
            stamp += draw(st.integers(1, 3))
            if draw(st.integers(0, 4)) == 0:
                entries.append(Entry(core, seq, stamp, deletion=draw(deletions)))
            else:
                values = draw(st.lists(chat_values, min_size=1, max_size=2))
                entries.append(Entry(core, seq, stamp, tuple(values)))
    return entries


def _all(core: bytes, seq: int) -> bool:
    return True


def may_delete(deleter: bytes, author: bytes) -> bool:
    return deleter == MEMBERS[ADMIN]


@dataclass(slots=True)
class Store:
    """Facts and rows as an engine keeps them: a batch in, the touched rows folded again."""

    shows: Callable[[bytes, int], bool] = _all
    facts: dict[bytes, bytes] = field(default_factory=dict)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    of_block: dict[tuple[bytes, int], set[bytes]] = field(default_factory=dict)

    def policy(self) -> TimelinePolicy:
        return TimelinePolicy(MEMBERS.get, self.shows, may_delete, self._clears)

    def _scan(self, prefix: bytes) -> list[Fact]:
        return [decode_fact(key, self.facts[key]) for key in sorted(self.facts) if key.startswith(prefix)]

    def _clears(self, core: bytes, seq: int) -> list[Fact]:
        return [fact for fact in self._scan(block_prefix(core, seq)) if fact.raw == LEAF]

    def add(self, facts: Iterable[Fact]) -> None:
        batch = list(facts)
        touched = messages_of(batch)
        for fact in batch:
            self.facts[fact.key()] = fact.encode()
            if fact.message is not None:
                self.of_block.setdefault((fact.core, fact.seq), set()).add(fact.message)
        for fact in batch:
            if fact.kind is FactKind.CLEAR and isinstance(fact.value, Block):
                touched |= self.of_block.get((fact.value.core, fact.value.seq), set())
        for message in touched:
            self.fold(message)

    def fold(self, message: bytes) -> None:
        for key in [key for key in self.rows if key.endswith(message)]:
            del self.rows[key]
        row = fold_message(message, self._scan(ABOUT_MESSAGE + message), self.policy())
        if row is not None:
            self.rows[row.key()] = row.encode()

    def fold_all(self) -> None:
        for message in {key[1:33] for key in self.facts if key[:1] == ABOUT_MESSAGE}:
            self.fold(message)

    def read(self) -> list[Row]:
        return [decode_row(key, self.rows[key]) for key in sorted(self.rows)]


def read(entries: Iterable[Entry], shows: Callable[[bytes, int], bool] = _all) -> list[Row]:
    """The rows of these entries, all at once."""
    store = Store(shows)
    store.add([fact for entry in entries for fact in entry.facts()])
    return store.read()


def without_reactions(rows: Iterable[Row]) -> list[Row]:
    return [replace(row, marked=False) for row in rows]
