"""What the opened entries of a space say: facts, whose they are, and which blocks deletions name.

Facts gather here until the commit folds them into the rows of the timeline; in the personal space they go into the
registers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crdt.docs.chat import Message
from crdt.docs.facts import ABOUT_OFFERS, Fact, FactKind, decode_fact, facts_of, facts_of_deletion
from crdt.docs.guard import Admit, examine
from crdt.docs.kinds import DocKind
from crdt.docs.personal import OwnFact, Personal, decode_own_fact, own_facts_of
from crdt.docs.timeline import TimelinePolicy, counts_deletion
from crdt.log.entry import Kind, Plaintext, decode_plaintext, open_entry
from crdt.log.merkle import Leaf, leaf_of
from crdt.log.stamp import stamp_ms
from crdt.space.control import SpaceKind
from sync.account.context import Context
from sync.space import timeline
from sync.space.delta import ChangeLog
from sync.space.feed import EntryState, Feed, StoredEntry, leaf_of_entry
from sync.space.feed_store import FeedStore
from sync.space.members import MAX_CORES, Members
from sync.store.port import Batch, Table, prefix_end

CHUNK = 512  # entries read at once
MAX_TALK = 1024  # offers and what answers them that are heard of one feed of a direct space,
MAX_GROUP_TALK = 64  # and of a group
READER = 1  # rises with every release that reads more than the one before: what was unread is then tried again

Place = tuple[bytes, int]  # core, seq


# Facts that stay without their content when their entry is erased.
ERASABLE = frozenset({FactKind.COPY, FactKind.EDIT, FactKind.REACTION})


def expiry(facts: Iterable[Fact]) -> int:
    """Unix ms at which the lifetime of what an entry says is over; 0 for none."""
    found = 0
    for fact in facts:
        if isinstance(fact.value, Message) and fact.value.lifetime:
            found = max(found, stamp_ms(fact.stamp) + fact.value.lifetime * 1000)
    return found


class SpaceFacts:
    """Facts of one space, between the entries that say them and the rows that show them."""

    def __init__(self, context: Context, feed_store: FeedStore, members: Members, changes: ChangeLog) -> None:
        self.registers = Personal(self._counts)
        self.registers_version = 0  # how often my own documents came to say something else
        self.unfolded: set[bytes] = set()  # cores with opened entries whose author was not known then
        self.facts: list[Fact] = []
        self._context, self._feed_store, self._members, self._changes = context, feed_store, members, changes
        self._clears: dict[Place, list[Fact]] = {}
        self._named: list[Place] = []
        self._explained: list[Place] = []
        self._doomed: list[tuple[bytes, int, int]] = []
        self._own: list[OwnFact] = []  # facts of my own documents that are not committed yet
        self._versions: dict[bytes, int] = {}  # what facts are about -> how often they changed
        self._memo: dict[str, tuple[int, int, Any]] = {}
        self._talk: dict[bytes, set[tuple[int, int]]] | None = None  # core -> places of offers and answers
        self._clears = timeline.clears_of(context.store, feed_store.space)
        if members.personal:
            self._load_registers()

    @property
    def stopped(self) -> bool:
        """Whether the space follows rules that this version lacks."""
        return self._members.state.stopped

    # -- entries ----------------------------------------------------------------------------------------------

    def update(self, entry: Plaintext, core: bytes, seq: int, now_ms: int, offshoot: bytes | None = None) -> None:
        """What an update says, if the guard admits it.  What this version cannot read of it is kept for a later one.
        offshoot: the name of the offshoot that it stands on."""
        personal = self._members.personal
        verdict = examine(entry.body, core, seq, DocKind.PERSONAL if personal else DocKind.CHAT)
        if not isinstance(verdict, Admit):
            self.keep_unread(offshoot or core, seq, now_ms)
            return
        if personal:
            said = own_facts_of(verdict, offshoot or core, seq, entry.stamp)
            if len(said) < len(verdict.puts):
                self.keep_unread(offshoot or core, seq, now_ms)
            for own in said:
                self._context.batch.put(Table.PERSONAL, self._feed_store.space + own.key(), own.encode())
                self._own.append(own)
                if self.registers.add(own):
                    self.registers_version += 1
                    self._changes.touch()
            if (core, seq) in self._clears:
                self._named.append((core, seq))
            return
        author = None if self._members.state.stopped else self._members.author(core)
        if author is not None:
            made = facts_of(verdict, author[1], offshoot or core, seq, entry.stamp, now_ms)
            if len(made) < len(verdict.puts):
                self.keep_unread(offshoot or core, seq, now_ms)
            made = [fact for fact in made if fact.about != ABOUT_OFFERS or self._is_heard(fact)]
            self.facts += made
            expires = expiry(made)
            if expires or (core, seq) in self._clears:
                self._doomed.append((offshoot or core, seq, expires))
        elif core not in self.unfolded and len(self.unfolded) < MAX_CORES:
            self.unfolded.add(core)
            self._changes.row_changed()

    def _is_heard(self, fact: Fact) -> bool:
        """Whether an offer, or what answers one, is among the first of its feed: all of them are folded again when one
        more comes, so whoever writes thousands must not cost thousands of folds of thousands."""
        store, space = self._context.store, self._feed_store.space
        if self._talk is None:
            self._talk = {}
            for known in timeline.facts_of_kind(store, space, ABOUT_OFFERS):
                self._talk.setdefault(known.core, set()).add((known.seq, known.place))
        most = MAX_TALK if self._members.kind is SpaceKind.DIRECT else MAX_GROUP_TALK
        heard, place = self._talk.setdefault(fact.core, set()), (fact.seq, fact.place)
        if place not in heard and len(heard) >= most:
            return False
        heard.add(place)
        return True

    def keep_unread(self, core: bytes, seq: int, now_ms: int) -> None:
        """Remembers that this version cannot read all of an entry, and when it came."""
        key = self._feed_store.space + READER.to_bytes(2, "big") + core + seq.to_bytes(8, "big")
        self._context.batch.put(Table.UNREAD, key, now_ms.to_bytes(8, "big"))

    def has_unread(self) -> bool:
        """Whether an earlier version left anything that this one may read."""
        return bool(self._scan_unread(1))

    def unread(self) -> list[tuple[bytes, int, int]]:
        """(core, seq, arrival in Unix ms) of what an earlier version could not read; it is forgotten by that."""
        found = []
        for key, value in self._scan_unread():
            self._context.batch.delete(Table.UNREAD, key)
            found.append((key[34:66], int.from_bytes(key[66:], "big"), int.from_bytes(value, "big")))
        return found

    def _scan_unread(self, limit: int | None = None) -> list[tuple[bytes, bytes]]:
        space = self._feed_store.space
        return self._context.store.scan(Table.UNREAD, space, space + READER.to_bytes(2, "big"), limit=limit)

    def deletion(self, entry: Plaintext, core: bytes, seq: int, now_ms: int) -> list[Place]:
        """What a deletion says.  Returns the places of the blocks that it names."""
        facts = facts_of_deletion(entry.body, core, seq, entry.stamp, now_ms)
        if self._members.personal:
            facts = [fact for fact in facts if fact.kind is FactKind.CLEAR]  # there are no rows to fold them into
            for fact in facts:
                self._context.batch.put(Table.FACT, self._feed_store.space + fact.key(), fact.encode())
        else:
            self.facts += facts
        named: list[Place] = []
        for fact in facts:
            if fact.about[:1] == b"\x02":
                at = place_of(fact)
                self._clears.setdefault(at, []).append(fact)
                named.append(at)
        self._named += named
        return named

    @property
    def erases(self) -> bool:
        """Whether anything came since the last call that erasing has to look at."""
        return bool(self._named or self._explained or self._doomed)

    def take_named(self) -> list[Place]:
        """Blocks that deletions named since the last call."""
        named, self._named = self._named, []
        return named

    def explained(self, place: Place) -> None:
        """A block that is not here counts as erased now, or as missing."""
        self._explained.append(place)

    def look_at_deletions(self) -> None:
        """Whose deletions count is another question now: what they name is looked at again."""
        self._named += self._clears

    def take_explained(self) -> list[Place]:
        """Blocks of which that was found out since the last call."""
        explained, self._explained = self._explained, []
        return explained

    def take_doomed(self) -> list[tuple[bytes, int, int]]:
        """(core or name of an offshoot, seq, end of its lifetime in Unix ms or 0) of updates that came since the last
        call and are to go."""
        doomed, self._doomed = self._doomed, []
        return doomed

    def deletions_of(self, place: Place) -> Sequence[Fact]:
        """The CLEAR facts about a block, whatever leaf they name and whether they count."""
        return self._clears.get(place, ())

    def deletions(self) -> Iterable[tuple[Place, Sequence[Fact]]]:
        """Every block that a deletion names, with the CLEAR facts about it."""
        return self._clears.items()

    def forget(self, fact: Fact, batch: Batch) -> None:
        """Its content goes, from here and from the store.  That a message stood there stays, for its place and its id;
        what else an entry said goes as a whole."""
        key, row = fact.key(), self._feed_store.space + fact.key()
        held = next((one for one in self.facts if one.key() == key), None)
        if held is None:
            stored = self._context.store.get(Table.FACT, row)
            held = decode_fact(key, stored) if stored is not None else None
        self.facts = [one for one in self.facts if one.key() != key]
        if fact.kind in ERASABLE:
            self.facts.append((held or fact).erased())
            return
        batch.delete(Table.FACT, row)
        self._changes.topic_changed(fact.about)
        self._versions[fact.about] = self._versions.get(fact.about, 0) + 1

    def blank(self, facts: Iterable[Fact]) -> None:
        """The content of these goes, from here and from the store; that a message stood there stays."""
        gone = {fact.key(): fact.erased() for fact in facts}
        self.facts = [fact for fact in self.facts if fact.key() not in gone] + list(gone.values())

    def named_by_deletions(self, core: bytes, seq: int) -> bool:
        """Whether any deletion speaks of the block at this place, with the right or without."""
        return (core, seq) in self._clears

    def erased(self, core: bytes, seq: int, leaf: Leaf) -> bool:
        """Whether a deletion that counts names this block, so that a peer may have cleared it."""
        named = [fact for fact in self._clears.get((core, seq), ()) if fact.raw == leaf[1]]
        if not named:
            return False
        if self._members.personal:
            writers = self._members.state.writers  # all of them are devices of mine
            return any(fact.core in writers and self._members.within(fact.core, fact.seq) for fact in named)
        policy = self.policy()
        author = policy.member(core)
        return author is not None and any(counts_deletion(fact, author, policy) for fact in named)

    def settled(self, core: bytes, seq: int) -> bool:
        """Whether it is known whose this block is, and who those are that say that it is deleted."""
        writers = self._members.state.writers
        return core in writers and all(fact.core in writers for fact in self._clears.get((core, seq), ()))

    def places_cleared(self, feeds: set[bytes]) -> set[Place]:
        """Blocks that deletions in these feeds name, and blocks of these feeds that deletions name."""
        return {
            place
            for place, named in self._clears.items()
            if place[0] in feeds or any(fact.core in feeds for fact in named)
        }

    def read_again(self, core: bytes, now_ms: int) -> None:
        """Facts of a feed whose entries were opened before anybody was known to be their author."""
        feed = self._feed_store.feeds.get(core)
        if feed is None:
            return
        for start in range(0, feed.length, CHUNK):
            for index, entry in enumerate(self._feed_store.entries(feed, start, min(start + CHUNK, feed.length))):
                if entry.state is not EntryState.OPENED:
                    continue
                text = decode_plaintext(open_entry(entry.key, core, self._feed_store.space, entry.block))
                if text.kind is Kind.UPDATE:
                    self.update(text, core, start + index, now_ms)

    # -- what is known ----------------------------------------------------------------------------------------

    def facts_at(self, feed: Feed, seq: int) -> list[Fact]:
        """What the entry at this place of a feed says, where it is here and opened."""
        return self._facts_of(self._feed_store.entry(feed, seq), feed.core, seq, feed.core)

    def said_at(self, name: bytes, seq: int) -> list[Fact]:
        """The same by what stands in facts for the core key: that of a feed, or the name of an offshoot."""
        offshoot = self._feed_store.offshoots.by_name.get(name)
        if offshoot is not None:
            return self._facts_of(self._feed_store.offshoots.entry(offshoot, seq), offshoot.core, seq, name)
        feed = self._feed_store.feeds.get(name)
        return self.facts_at(feed, seq) if feed is not None and seq < feed.length else []

    def _facts_of(self, entry: StoredEntry | None, core: bytes, seq: int, name: bytes) -> list[Fact]:
        author = self._members.author(core)
        if entry is None or entry.state is not EntryState.OPENED or author is None:
            return []
        text = decode_plaintext(open_entry(entry.key, core, self._feed_store.space, entry.block))
        verdict = examine(text.body, core, seq, DocKind.CHAT) if text.kind is Kind.UPDATE else None
        if not isinstance(verdict, Admit):
            return []
        return facts_of(verdict, author[1], name, seq, text.stamp, 0)

    def messages_at(self, feed: Feed, seq: int) -> list[bytes]:
        """Ids of the messages that the entry at this place of a feed publishes."""
        return [fact.about[1:] for fact in self.facts_at(feed, seq) if fact.kind is FactKind.COPY]

    def policy(self) -> TimelinePolicy:
        """Whose a feed is, what shows, who may delete: as the membership of now has it."""
        state = self._members.state
        group = state.kind is SpaceKind.GROUP

        def member(core: bytes) -> bytes | None:
            writer = state.writers.get(self._members.feed_of(core))
            return writer.member if writer is not None else None

        def may_delete(deleter: bytes, author: bytes) -> bool:
            one, other = state.members.get(deleter), state.members.get(author)
            return group and one is not None and other is not None and one.rank < 2 and one.rank <= other.rank

        def clears(core: bytes, seq: int) -> Sequence[Fact]:
            found = self._clears.get((core, seq))
            if not found:
                return ()
            feed = self._feed_store.feeds.get(core)
            entry = self._feed_store.entry(feed, seq) if feed is not None else None
            leaf = None if entry is None else entry.leaf or leaf_of(entry.block)
            return [fact for fact in found if leaf is not None and fact.raw == leaf[1]]

        return TimelinePolicy(member, self._members.shows, may_delete, clears, self._members.acts)

    def remember(self, name: str, about: bytes, fold: Callable[[], Any]) -> Any:
        """A fold of the facts about something, until another such fact comes or membership changes."""
        version, held = self._versions.get(about, 0), self._memo.get(name)
        if held is not None and held[0] == version and held[1] == self._members.version:
            return held[2]
        value = fold()
        self._memo[name] = version, self._members.version, value
        return value

    # -- once a commit ----------------------------------------------------------------------------------------

    def take_facts(self) -> list[Fact]:
        """What came since the last commit; folds that rest on it are made anew."""
        facts, self.facts = self.facts, []
        for about in {fact.about for fact in facts if len(fact.about) == 1}:
            self._changes.topic_changed(about)
            self._versions[about] = self._versions.get(about, 0) + 1
        return facts

    def _counts(self, core: bytes, seq: int) -> bool:
        """Whether a value of my own documents counts: within what closes admit, and not deleted as spent."""
        if (core, seq) in self._clears:
            feed = self._feed_store.feeds.get(core)
            entry = self._feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
            if entry is not None and self.erased(core, seq, leaf_of_entry(entry)):
                return False
        return self._members.within(core, seq)

    def own_facts(self) -> list[OwnFact]:
        """All values of my own documents that count."""
        space = self._feed_store.space
        rows = self._context.store.scan(Table.PERSONAL, space, prefix_end(space))
        found = [decode_own_fact(key[32:], value) for key, value in rows]
        return [fact for fact in found if self._counts(fact.core, fact.seq)]

    def reload_registers(self) -> None:
        """Which of my own documents count is another question now."""
        self.registers = Personal(self._counts)
        self._load_registers()
        self.registers_version += 1

    def _load_registers(self) -> None:
        space = self._feed_store.space
        for key, value in self._context.store.scan(Table.PERSONAL, space, prefix_end(space)):
            self.registers.add(decode_own_fact(key[len(space) :], value))
        for own in self._own:
            self.registers.add(own)

    def committed(self) -> None:
        """The open batch is durable."""
        self._own.clear()

    def catch_up(self, now_ms: int) -> None:
        """Feeds whose author is known by now."""
        for core in [core for core in sorted(self.unfolded) if self._members.author(core) is not None]:
            self.unfolded.discard(core)
            self._changes.row_changed()
            self.read_again(core, now_ms)

    def shown_otherwise(self, moved: set[bytes]) -> dict[bytes, None]:
        """Messages to fold again where these feeds show otherwise than before."""
        found: dict[bytes, None] = {}
        names = {offshoot.name for offshoot in self._feed_store.offshoots.held.values() if offshoot.core in moved}
        for core in sorted(moved | names):
            found.update(dict.fromkeys(timeline.messages_of_feed(self._context.store, self._feed_store.space, core)))
        if moved:
            clears = (fact for named in self._clears.values() for fact in named if fact.core in moved)
            found.update(dict.fromkeys(self.named(clears)))
        return found

    def named(self, clears: Iterable[Fact]) -> Iterable[bytes]:
        """Messages that speak, edits and reactions included, in the blocks that deletions name: a deletion may name a
        block of another message, and that message's row must not depend on which of the two came first."""
        for core, seq in dict.fromkeys(map(place_of, clears)):
            feed = self._feed_store.feeds.get(core)
            if feed is not None and seq < feed.length:
                yield from (fact.message for fact in self.facts_at(feed, seq) if fact.message is not None)


def place_of(fact: Fact) -> Place:
    """The block that a deletion's fact names."""
    return fact.about[1:33], int.from_bytes(fact.about[33:41], "big")
