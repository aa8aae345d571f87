"""The entry that opens an epoch, as a node writes it: its operations, its grant, and the keys that it leaves here."""

from __future__ import annotations

from crdt.log.entry import read_block
from crdt.space.control import Epoch, Set
from crdt.space.epoch import proves_z
from crdt.space.grant import open_grant
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from sync.account.account import new_account
from sync.engine.profile import Profile, found_profile
from sync.space.epochs import open_epoch
from sync.store.memory import MemoryStore
from tests.support.kem import SIMULATED
from tests.support.streams import stream

NOW = 1_790_000_000
MS = NOW * 1000


def test_opening_an_epoch_writes_one_entry_whose_grant_opens_with_own_keys() -> None:
    rng = stream("epochs")
    phrase = phrase_keys(new_phrase(rng), SIMULATED)
    account = new_account(phrase.root.public, "phone", rng, NOW, kem=SIMULATED)
    signing, agreement = account.keys.signing, account.keys.agreement
    certificate = root_certificate(phrase.root, signing, agreement.public, created=NOW, generation=NOW)
    store = MemoryStore()
    found_profile(store, account, [certificate], phrase.recovery.public, "Ada", MS, rng, SIMULATED)
    space = next(space for space in Profile(store, rng, SIMULATED).spaces.values() if not space.personal)
    before, feed = set(space.state.epochs), space.mine
    assert feed is not None
    seq, setting = feed.length, Set("history", b"all")

    _, epoch_id = open_epoch(space, MS, [setting])

    entry = space.graph.entry(epoch_id)
    assert entry is not None and (entry.core, entry.seq, feed.length) == (feed.core, seq, seq + 1)
    written, epoch = entry.ops
    assert written == setting and isinstance(epoch, Epoch)
    assert set(epoch.superseded) == before
    (block,) = space.feed_store.blocks(feed.writer, seq, seq + 1, 1 << 20)
    assert isinstance(block, bytes)
    prekeys = [prekey.key for prekey in account.keys.prekeys]
    grant = read_block(block, seq).grant
    opened = open_grant(grant, feed.core, seq, space.id, agreement, prekeys, [agreement.public], kem=SIMULATED)
    assert opened is not None and proves_z(epoch, opened.z)
    assert (opened.secret, opened.z) == (space.keys[epoch_id].secret, space.keys[epoch_id].z)
