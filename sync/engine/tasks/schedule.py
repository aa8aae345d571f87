"""When a device writes what nobody asked it to: the background tasks of every space, and what triggers each.

New devices of mine are brought into my chats, people who said yes into the groups they were offered, block 0 of a feed
opens an epoch, closes and revocations are answered, records and receipts are told.  A task looks at the state alone, so
it is done once whatever the order of arrival, and again after a crash before its commit.

| task | done after | file |
|---|---|---|
| first entry, obligations | any change of the space | `epochs.py` |
| re-keying | a device known to be out that a space still lists; a few spaces a tick | `epochs.py` |
| profiles | the first entry, a profile told there, a change of my personal space; a day after a note | `profiles.py` |
| common epoch | a while in which no epoch holds the whole roster | `epochs.py` |
| offers | a talk about groups, a group's membership, a connection lost | `offers.py` |
| restarts | the same, and a device known to be out | `restarts.py` |
| own devices | any change at all | `admission.py` |
| erased | a deletion that misses a copy of mine; a day after a lifetime is over | `erasures.py` |
| spent | a day after the last time, where my devices have the same | `spent.py` |
| receipt | my read mark moved past what the others were told | `receipts.py` |
| erasing, forgetting | a slice a tick, while anything is due | `sync.space.erasing`, `sync.space.forgetting` |
| places | the stamp of a row that was ahead has passed, or the clock was set back | `sync.space.timeline` |
| record | what my last record says of others' feeds does not hold | `sync.space.records` |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf

from crdt.docs.deletion import MAX_BLOCKS
from crdt.docs.facts import ABOUT_OFFERS, ABOUT_PROFILES
from crdt.docs.personal import Feeds
from crdt.space.control import SpaceKind
from identity.errors import KithkinError
from sync.engine.effects import Progress
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.engine.tasks.admission import admit_own_devices
from sync.engine.tasks.epochs import meet_obligations, open_common_epoch, turn_to_open, write_first_entry
from sync.engine.tasks.erasures import name_erased, name_late_copies
from sync.engine.tasks.offers import answer_offers
from sync.engine.tasks.profiles import exchange_profiles
from sync.engine.tasks.receipts import receipt_due, write_receipt
from sync.engine.tasks.restarts import take_restarts
from sync.engine.tasks.spent import AGAIN, SOON, name_spent
from sync.engine.tasks.twins import share_with_twins
from sync.space.delta import SpaceDelta
from sync.space.epochs import ensure_key
from sync.space.obligations import gave_way, owes_epoch
from sync.space.space import Space

REKEYED = 8  # spaces a tick, so that a device that is shut out of hundreds stops nothing else meanwhile
SLICES = 4  # spaces of which a slice is erased in a tick, so that thousands of messages that go stop nothing either
RECORD_GAP = 0.1  # seconds between two records of one space
SUCCESSOR = 2.0  # seconds that a record waits for the feed that follows another
NAMING = 86_400.0  # seconds until a deletion names what had its lifetime in my feed
EPOCH_GAP = 2.0  # seconds until the first device opens an epoch that is lacking, and from each to the next


class Schedule:
    """defect: told of an exception that no task should raise; what the task half did has to be forgotten."""

    def __init__(self, profile: Profile, peers: Mapping[int, Peer], defect: Callable[[Exception], None]) -> None:
        self._profile = profile
        self._peers = peers
        self._defect = defect
        self._all_due = True  # every task is looked at: at the start, and when the store was read again
        self._answers_due = False  # who is connected has changed, and with it who answers those that join
        self._record_due: dict[bytes, float] = {}
        self._record_last: dict[bytes, float] = {}
        self._epoch_due: dict[bytes, float] = {}
        self._missing_due: dict[bytes, float] = {}  # spaces that wait for missing control entries -> until when
        self._naming_due: dict[bytes, float] = {}
        self._spent_due = 0.0  # when spent values of my own documents are looked at
        self._receipt_due: dict[bytes, int] = {}  # space -> Unix ms from when a receipt is owed
        self._names_due: dict[bytes, int] = {}  # space -> Unix ms from when its contact's name may be noted again
        self._marks: Mapping[bytes, Feeds] = {}  # as they were when that was worked out
        self._failed: set[tuple[str, bytes]] = set()  # (task, space): left undone until the next start
        self._owing: dict[bytes, None] = {}  # spaces that list a device which is out, in the order of their turn
        self._vain: dict[bytes, int] = {}  # spaces where that changed nothing -> what was known then
        self._record_waits: dict[bytes, float] = {}  # spaces where a feed that follows another is awaited -> until when
        self._owed = 0  # how many there were when the first of them had its turn
        self._budget = REKEYED
        self._sliced: set[bytes] = set()  # spaces that erased or forgot a slice in this tick

    @property
    def starting(self) -> bool:
        """Whether every task is about to be looked at."""
        return self._all_due

    # -- triggers ---------------------------------------------------------------------------------------------

    def start_over(self) -> None:
        """The store was read again: what called for a task may be forgotten, so all of them are looked at."""
        self._all_due = True
        for id_ in self._profile.spaces:
            self._record_due[id_] = 0.0

    def clock_set_back(self, now: float) -> None:
        """What was due by the old clock would wait for as long as it went wrong."""
        self._record_due = dict.fromkeys(self._profile.spaces, now)
        self._spent_due = now
        self._record_last.clear()
        self._epoch_due.clear()
        self._missing_due.clear()
        self._all_due = True
        for space in self._profile.spaces.values():
            space.place_rows(int(now * 1000), clock_set_back=True)

    def online(self, now: float) -> None:
        """This node is reached at a new place: every space is told."""
        for id_ in self._profile.spaces:
            self._record_due[id_] = now

    def keys_rotated(self, now: float) -> None:
        """This node is dialled by other keys: every space is told, where nothing else is due there."""
        for id_ in self._profile.spaces:
            self._record_due.setdefault(id_, now)

    def connection_lost(self) -> None:
        """A device went away: those who wait for its answer get it from another."""
        self._answers_due = True

    def devices_out(self, identities: Collection[bytes]) -> None:
        """Devices of these people are out, or back, since something was learnt: their spaces are keyed anew."""
        for id_, space in self._profile.spaces.items():
            if any(m.identity in identities for m in space.state.members.values()) and owes_epoch(space):
                self._owe(id_)
        self._answers_due = True  # whether people go along with a restart hangs on which devices are out

    @property
    def owing(self) -> int:
        """Spaces that have to be keyed anew and were not yet."""
        return len(self._owing)

    def begin_tick(self) -> None:
        """Another few spaces may be keyed anew, and another slice of what is to go may be erased."""
        self._budget = REKEYED
        self._sliced.clear()

    def note(self, deltas: Iterable[SpaceDelta], now: float) -> None:
        """What a commit changed, before its consequences: a record that does not hold any more, and who answers."""
        for delta in deltas:
            if delta.frontier or delta.membership:
                last = self._record_last.get(delta.space, 0.0)
                self._record_due.setdefault(delta.space, max(now, last + RECORD_GAP))
            if delta.membership and self._profile.spaces[delta.space].kind is SpaceKind.GROUP:
                self._answers_due = True

    # -- work -------------------------------------------------------------------------------------------------

    def run_due(self, now: float, *, hints: tuple[str, ...] | None) -> None:
        """Writes everything whose time has come into the open batch.  hints: where this node is reached; None: it is
        not online, and nothing is told that needs others."""
        if self._profile.out:
            return
        if self._all_due or self._answers_due:
            self.review((), now)
        if over := [id_ for id_, at in self._missing_due.items() if at <= now]:
            self.review(map(SpaceDelta, over), now)  # what is missing has had its time: what waited for it is done
        self._run_owing(int(now * 1000))
        if hints is not None:
            self._run_records(hints, now)
            self._run_epochs(now)
        self._run_receipts(int(now * 1000))
        for id_ in [id_ for id_, at in self._names_due.items() if at <= now * 1000]:
            del self._names_due[id_]
            self._run("profiles", id_, lambda space: self._exchange_profiles(space, int(now * 1000)))
        for space in self._profile.spaces.values():
            if space.due <= now * 1000:
                space.place_rows(int(now * 1000))
        self._run_erasures(now)
        if self._spent_due <= now:
            self._spent_due = now + AGAIN
            self._run("spent", self._profile.personal.id, lambda space: self._name_spent(now))

    def _name_spent(self, now: float) -> None:
        self._spent_due = now + name_spent(self._profile, int(now * 1000))

    def review(self, deltas: Iterable[SpaceDelta], now: float) -> None:
        """Does the tasks that follow from what a commit changed; at the start, and after starting over, all of them.

        None where this version may not write to the personal space: they note there what they did.
        """
        profile, now_ms = self._profile, int(now * 1000)
        if profile.personal.state.stopped or profile.out:
            self._all_due = self._answers_due = False
            return
        start, self._all_due = self._all_due, False
        for known in profile.spaces.values() if start else ():
            known.place_rows(now_ms, clock_set_back=True)
        answers, self._answers_due = start or self._answers_due, False
        given = list(map(SpaceDelta, profile.spaces)) if start else list(deltas)
        for delta in given:
            id_ = delta.space
            self._wait_for_missing(id_, now)
            self._run("first_entry", id_, lambda space: write_first_entry(profile, space, now_ms))
            space = profile.spaces.get(id_)
            if space is None:
                continue
            if owes_epoch(space):
                self._owe(id_)
            else:
                self._run("obligations", id_, lambda space: meet_obligations(profile, space, now_ms))
            answers = answers or ABOUT_OFFERS in delta.topics
            if start and space.erasing.unnamed:
                self._naming_due[id_] = now  # since when they wait is not known any more
            if gone := [change.message for change in delta.rows if change.after is not None and change.after.deleted]:
                self._run("erased", id_, lambda space: name_late_copies(profile, space, gone, now_ms))
            if space.kind is SpaceKind.DIRECT and (start or delta.membership):
                self._run("twins", id_, lambda space: share_with_twins(profile, space, now_ms))
            if space.personal:
                self._spent_due = min(self._spent_due, now + SOON)
                for one in list(profile.spaces):
                    self._run("profiles", one, lambda space: self._exchange_profiles(space, now_ms))
            elif start or ABOUT_PROFILES in delta.topics or (space.mine is not None and space.mine.length == 1):
                self._run("profiles", id_, lambda space: self._exchange_profiles(space, now_ms))
            turn = turn_to_open(space)
            if turn is None:
                self._epoch_due.pop(id_, None)
            else:
                self._epoch_due.setdefault(id_, now + EPOCH_GAP * (1 + turn))
        if answers:
            connected = {peer.device for peer in self._peers.values() if peer.device is not None and not peer.closing}
            for id_ in [id_ for id_, space in profile.spaces.items() if space.kind is SpaceKind.DIRECT]:
                self._run("offers", id_, lambda space: answer_offers(profile, space, connected, now_ms))
            for id_ in [id_ for id_, space in profile.spaces.items() if space.kind is SpaceKind.GROUP]:
                self._run("restarts", id_, lambda space: take_restarts(profile, space, connected, now_ms))
        if given:
            self._run("own_devices", profile.personal.id, lambda space: admit_own_devices(profile, now_ms))
        self._look_at_marks([delta.space for delta in given], now_ms)

    def next_wake(self, *, online: bool) -> float:
        """Unix seconds at which `run_due` has something to do; infinity if nothing waits."""
        if self._profile.out:
            return inf
        times = [at / 1000 for at in self._receipt_due.values()]
        if self._owing:
            times.append(0.0)
        times += [at / 1000 for at in self._names_due.values()]
        times += [space.due / 1000 for space in self._profile.spaces.values()]
        times += [space.erasing.next_due() / 1000 for space in self._profile.spaces.values()]
        times += [0.0 for space in self._profile.spaces.values() if space.forgetting.more]
        times += [*self._naming_due.values(), *self._missing_due.values(), self._spent_due]
        if online:
            times += [*self._record_due.values(), *self._epoch_due.values()]
        return min(times, default=inf)

    def _run(self, name: str, id_: bytes, do: Callable[[Space], None]) -> None:
        """One task of one space.  One that cannot be done is left undone until the next start, and stops nothing."""
        space = self._profile.spaces.get(id_)
        if space is None or (name, id_) in self._failed:
            return
        try:
            do(space)
        except KithkinError:
            raise  # the store's: the whole tick is refused
        except Exception as defect:
            self._failed.add((name, id_))
            self._defect(defect)

    def _wait_for_missing(self, id_: bytes, now: float) -> None:
        self._missing_due.pop(id_, None)
        space = self._profile.spaces.get(id_)
        until = space.members.wait_for_missing(int(now * 1000)) if space is not None else None
        if until is not None:
            self._missing_due[id_] = until / 1000

    def _owe(self, id_: bytes) -> None:
        if id_ not in self._owing and self._vain.get(id_) != self._profile.directory.version:
            self._owing[id_] = None
            self._owed += 1

    def _run_owing(self, now_ms: int) -> None:
        """A few of the spaces that list a device which is out."""
        while self._owing and self._budget:
            id_ = next(iter(self._owing))
            del self._owing[id_]
            self._budget -= 1
            self._run("re-keying", id_, lambda space: meet_obligations(self._profile, space, now_ms))
            space = self._profile.spaces.get(id_)
            if space is not None and owes_epoch(space):
                self._vain[id_] = self._profile.directory.version  # nothing is sealed to that device all the same
            if self._owed > REKEYED:
                done = self._owed - len(self._owing)
                self._profile.effects.append(Progress("re-keying", done, self._owed))
        if not self._owing:
            self._owed = 0

    def _exchange_profiles(self, space: Space, now_ms: int) -> None:
        self._names_due.pop(space.id, None)
        due = exchange_profiles(self._profile, space, now_ms)
        if due is not None:
            self._names_due[space.id] = due

    def _look_at_marks(self, changed: Iterable[bytes], now_ms: int) -> None:
        """Which spaces owe a receipt, and from when: those that changed, and those whose read mark did."""
        marks, before = self._profile.view.marks, self._marks
        self._marks = marks
        moved = [id_ for id_, mark in marks.items() if before.get(id_) != mark] if marks is not before else []
        for id_ in dict.fromkeys((*changed, *moved)):
            self._receipt_due.pop(id_, None)
            space = self._profile.spaces.get(id_)
            due = receipt_due(self._profile, space, now_ms) if space is not None and id_ in marks else None
            if due is not None:
                self._receipt_due[id_] = due

    def _run_receipts(self, now_ms: int) -> None:
        for id_ in [id_ for id_, at in self._receipt_due.items() if at <= now_ms]:
            del self._receipt_due[id_]
            self._run("receipt", id_, lambda space: write_receipt(self._profile, space, now_ms))

    def _run_erasures(self, now: float) -> None:
        """What is due to be erased goes with this commit; what lived out its time in my feed is named once a day."""
        profile, now_ms = self._profile, int(now * 1000)
        for id_, space in list(profile.spaces.items()):
            due = space.forgetting.more or space.erasing.next_due() <= now_ms
            if due and id_ not in self._sliced and len(self._sliced) < SLICES:
                self._sliced.add(id_)
                space.look_again()
            if not space.erasing.unnamed:
                self._naming_due.pop(id_, None)
            elif len(space.erasing.unnamed) >= MAX_BLOCKS or self._naming_due.setdefault(id_, now + NAMING) <= now:
                self._naming_due[id_] = now + NAMING
                self._run("erased", id_, lambda space: name_erased(profile, space, now_ms))

    def _run_epochs(self, now: float) -> None:
        """Epochs for a roster that no epoch holds: whoever's turn comes first opens one."""
        for id_ in [id_ for id_, at in self._epoch_due.items() if at <= now]:
            del self._epoch_due[id_]
            self._run("common_epoch", id_, lambda space: open_common_epoch(self._profile, space, int(now * 1000)))

    def _run_records(self, hints: tuple[str, ...], now: float) -> None:
        account = self._profile.account
        transports = (account.transport(now).public, account.next_transport(now).public)
        for id_, at in list(self._record_due.items()):
            if at > now:
                continue
            space = self._profile.spaces.get(id_)
            if space is not None and owes_epoch(space):
                self._owe(id_)  # what came in this tick may say so before anything was committed
                if id_ not in self._owing:
                    del self._record_due[id_]  # in vain: this device has no key that the one which is out has not
            if id_ in self._owing or id_ not in self._record_due:
                continue  # its newest key is one that the device which is out still has
            if space is not None and space.may_write and gave_way(space):
                until = self._record_waits.setdefault(id_, now + SUCCESSOR)
                if now < until:
                    self._record_due[id_] = until  # the feed that follows brings a key of its own
                    continue
                self._run("re-keying", id_, lambda space: ensure_key(space, int(now * 1000), self._profile.recovery))
            self._record_waits.pop(id_, None)
            self._record_due.pop(id_, None)
            if space is not None and space.records.make(int(now * 1000), transports, hints, space.inbound.missing()):
                self._record_last[id_] = now
