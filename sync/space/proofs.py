"""Who speaks in a space: which writers proved to this device that they are the device that their admission names.

An admission is the word of whoever admitted.  A writer proves itself, to each reader apart, by a grant of its feed that
this device opens, or by a proof in its record; until then it is on somebody's word.  `docs/protocol.md`, "Proved
writers".  Proofs change what people are shown, never a fold.
"""

from __future__ import annotations

from crdt.docs.facts import ABOUT_PROFILES
from crdt.space.membership import Writer as SpaceWriter
from crdt.space.proof import writer_proof
from identity.codec import Reader, Writer
from sync.account.context import Context
from sync.account.directory import KnownDevice
from sync.space.delta import ChangeLog
from sync.space.feed_store import FeedStore
from sync.space.members import MAX_CORES, Members


class Proofs:
    """Proofs of one space.  Once given they hold for good: a writer key never moves to another device."""

    def __init__(self, context: Context, feed_store: FeedStore, members: Members, changes: ChangeLog) -> None:
        self._context, self._feed_store, self._members, self._changes = context, feed_store, members, changes
        self._held: dict[bytes, bytes] = {}  # core -> D of the device that proved to write this feed
        self._told: dict[bytes, frozenset[bytes]] = {}  # core -> proofs in its record that are not held yet
        self._standing: tuple[object, dict[bytes, bool]] = None, {}
        self._changed = 0

    # -- what comes -------------------------------------------------------------------------------------------

    def opened(self, core: bytes, agreement: bytes) -> None:
        """A grant in this feed opened that the holder of this D sealed for this device."""
        self._hold(core, agreement)

    def told(self, core: bytes, proofs: frozenset[bytes]) -> None:
        """The newest record of this feed's writer holds these proofs, one of them perhaps for this device."""
        if proofs and core not in self._held:
            self._told[core] = proofs
            self._examine(core)

    def review(self) -> None:
        """Membership changed: of feeds that nobody wrote before it may be known now whose they are."""
        for core in sorted(self._told):
            self._examine(core)

    def _examine(self, core: bytes) -> None:
        known, mine = self._device(core), self._feed_store.mine
        shared = self._context.directory.shared(known.id) if known is not None else None
        if known is None or shared is None or mine is None:
            return
        writer = self._members.state.writers[core].writer
        if writer_proof(shared, self._feed_store.space, writer, mine.writer) in self._told[core]:
            self._hold(core, known.agreement)

    def _hold(self, core: bytes, agreement: bytes) -> None:
        if self._held.get(core) == agreement or (core not in self._held and len(self._held) >= MAX_CORES):
            return
        self._held[core] = agreement
        self._told.pop(core, None)
        self._changed += 1
        self._changes.row_changed()
        feed, writers = self._feed_store.feeds.get(core), self._members.state.writers
        if (feed is not None and feed.opened) or any(w.by == core != w.core for w in writers.values()):
            self._changes.topic_changed(ABOUT_PROFILES)  # what was shown already is shown otherwise now

    # -- what is known ----------------------------------------------------------------------------------------

    def proved(self, core: bytes) -> bool:
        """Whether this very device was shown that the feed is written by the device that its admission names."""
        mine = self._feed_store.mine
        if mine is not None and core == mine.core:
            return True
        held, known = self._held.get(core), self._device(core)
        return held is not None and known is not None and held == known.agreement

    @property
    def version(self) -> tuple[int, int]:
        """Another value whenever somebody may have proved something."""
        return self._changed, self._context.directory.version

    def stands(self, core: bytes) -> bool:
        """Whether what this writer says is its person's word: it is proved; or a writer that stands let it in, which is
        of the same person, or of mine, since my devices let nobody in whom they have not met."""
        key = (self._members.version, self.version)
        if self._standing[0] != key:
            self._standing = key, {}
        found = self._standing[1]
        chain: list[bytes] = []
        while core not in found:
            writer, up = self._members.state.writers.get(core), None
            if writer is None:
                found[core] = False
            elif self.proved(core) or self._of_my_member(writer):
                found[core] = True
            elif writer.by == core or core in chain or not self._may_vouch(writer):
                found[core] = False
            else:
                chain.append(core)
                up = writer.by
            if up is None:
                break
            core = up
        stands = found.get(core, False)
        found.update(dict.fromkeys(chain, stands))
        return stands

    def voucher(self, core: bytes) -> bytes | None:
        """The feed on whose word a writer is in: the nearest that stands, up the way of admissions; None: there is
        none, because nobody up there has proved anything yet."""
        writers, seen = self._members.state.writers, {core}
        while (writer := writers.get(core)) is not None and writer.by not in seen:
            core = writer.by
            seen.add(core)
            if self.stands(core):
                return core
        return None

    def _of_my_member(self, writer: SpaceWriter) -> bool:
        """My own consent names the feed that let me in, and my devices told me which are ours."""
        mine = self._feed_store.mine
        me = self._members.state.writers.get(mine.core) if mine is not None else None
        return me is not None and me.member == writer.member

    def _may_vouch(self, writer: SpaceWriter) -> bool:
        by, one = self._members.state.member(writer.by), self._members.state.member(writer.core)
        if by is None or one is None:
            return False
        return by.identity in (one.identity, self._context.account.identity)

    def _device(self, core: bytes) -> KnownDevice | None:
        """The device that the admission of a feed names, if its certificate is of the member's identity."""
        writer, member = self._members.state.writers.get(core), self._members.state.member(core)
        known = self._context.directory.device(writer.device) if writer is not None else None
        return known if known is not None and member is not None and known.identity == member.identity else None

    # -- the row ----------------------------------------------------------------------------------------------

    def write(self, out: Writer) -> None:
        """Feeds with the D that proved to write them."""
        out.array(sorted(self._held.items()), lambda w, one: w.raw(one[0]).raw(one[1]))

    def read(self, data: Reader) -> None:
        """As `write` put them."""
        self._held = dict(data.array(lambda r: (r.fixed(32), r.fixed(32)), MAX_CORES))
