"""Writes the feeds of a chat as a transcript, whether the chat was held or forged: one writer for both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from crdt.log.transcript import NO_KEY, Transcript, TranscriptEntry, TranscriptFeed, write_transcript
from sync.space.feed import Feed
from sync.space.feed_store import FeedStore

PIECE = 100  # entries read at once


def feeds_of(store: FeedStore) -> Transcript:
    """Every feed that has a signed head, up to that head."""
    feeds = [store.by_writer[writer] for writer in sorted(store.by_writer)]
    known = [TranscriptFeed(feed.head, _entries(store, feed, feed.head.length)) for feed in feeds if feed.head]
    return Transcript(store.space, known)


def write_feeds(store: FeedStore, file: IO[bytes]) -> int:
    """Writes the transcript; how many entries it holds."""
    transcript = feeds_of(store)
    for piece in write_transcript(transcript):
        file.write(piece)
    return sum(feed.head.length for feed in transcript.feeds)


def _entries(store: FeedStore, feed: Feed, length: int) -> Iterator[TranscriptEntry]:
    for start in range(0, length, PIECE):
        for entry in store.entries(feed, start, min(start + PIECE, length)):
            yield TranscriptEntry(entry.block, entry.key or NO_KEY, entry.leaf)
