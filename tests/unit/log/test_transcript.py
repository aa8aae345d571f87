"""Transcripts are read as they were written, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import Tree, leaf_of
from crdt.log.transcript import (
    NO_KEY,
    Transcript,
    TranscriptEntry,
    TranscriptFeed,
    read_transcript,
    write_transcript,
)
from identity.errors import DecodeError
from identity.keys import SigningKey
from tests.support.vectors import matches

W = SigningKey.from_seed(b"w" * 32)
CORE, SPACE, EPOCH = core_key(W.public), b"s" * 32, b"e" * 32


def transcript() -> Transcript:
    """A feed of an entry that is open, one that stayed sealed, and one that was erased."""
    entries, leaves = [], []
    for seq in range(3):
        key, tag = message_key(EPOCH, CORE, seq)
        block = seal_entry(key, tag, CORE, SPACE, seq, encode_plaintext(Plaintext(Kind.UPDATE, seq + 1, (), b"body")))
        leaves.append(leaf_of(block))
        entries.append(TranscriptEntry(block, key if seq == 0 else NO_KEY))
    entries[2] = TranscriptEntry(b"", NO_KEY, leaves[2])
    head = sign_head(W, Tree().extend(leaves)[0])
    return Transcript(SPACE, (TranscriptFeed(head, tuple(entries)),))


def test_transcript_equals_the_recorded_vector() -> None:
    data = b"".join(write_transcript(transcript()))
    made = {"space": SPACE.hex(), "writer seed": W.seed.hex(), "epoch": EPOCH.hex(), "bytes": data.hex()}
    kept = matches("log-transcript", made)
    assert read_transcript(bytes.fromhex(kept["bytes"])) == transcript()


@given(cut=st.integers(0, 2_000), junk=st.binary(min_size=1, max_size=40))
def test_what_is_cut_off_or_goes_on_is_no_transcript(cut: int, junk: bytes) -> None:
    data = b"".join(write_transcript(transcript()))
    for broken in (data[: cut % len(data)], data + junk, b"\1" + data[1:]):
        with pytest.raises(DecodeError):
            read_transcript(broken)


@given(st.binary(max_size=400))
def test_noise_is_refused_or_read(data: bytes) -> None:
    try:
        found = read_transcript(b"\0\1" + data)
    except DecodeError:
        return
    assert b"".join(write_transcript(found)) == b"\0\1" + data


def test_a_feed_has_as_many_entries_as_its_head_says() -> None:
    (feed,) = transcript().feeds
    short = TranscriptFeed(feed.head, tuple(feed.entries)[:2])
    with pytest.raises(ValueError, match="as many entries"):
        list(write_transcript(Transcript(SPACE, (short,))))
