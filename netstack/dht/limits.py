"""What a DHT node holds, sends and waits.  Times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DhtLimits:
    """The defaults are those of the family where other nodes can tell, and ours where they cannot.

    Full to these limits a store takes 85 MB (`tests/simulation/test_dht_attacks.py` fills one).
    """

    concurrency: int = 10  # requests of one query at a time
    background: int = 2  # the same, of a query that nobody waits for, while others are under way
    slot: float = 0.75  # of the congestion window ...
    per_slot: int = 80  # ... requests that one of its slots may hold ...
    window: int = 160  # ... and all four of them
    inflight: int = 4096  # requests that wait for an answer or for room; more are refused at once
    retry: float = 1.0  # until a request is repeated to a node whose round trips we do not know
    retry_min: float = 0.3
    retry_max: float = 4.0
    roundtrips: int = 256  # nodes whose round trips are remembered
    tries: int = 4  # of a request
    query_tries: int = 6  # of a request of a query
    visits: int = 512  # nodes that one query asks, so that lies cannot make it endless ...
    candidates: int = 4096  # ... and addresses that it remembers

    tick: float = 5.0
    sleep: float = 15.0  # between two ticks: the machine slept
    stable: int = 240  # ticks without trouble (20 min) until an adaptive node tries to become persistent ...
    stable_again: int = 720  # ... and after a failed try, a sleep or a change of network
    ping_every: int = 8  # ticks between two pings of the nodes not heard for longest
    refresh: int = 60  # ticks without a query until a bucket is refreshed
    recent: int = 12  # ticks: heard from lately
    old: int = 360  # ticks: in the table for long
    checks: int = 10  # pings at once that others' hints may cause
    visitors: int = 16  # pings at once of nodes that asked us something and may get a place
    repings: int = 3  # pings at once that decide over a full bucket
    hints: int = 50  # hints about dead nodes that we send in a tick
    delayed: int = 256  # pongs that wait for their time ...
    delayed_each: int = 16  # ... and of those for one network
    delay: float = 10.0  # longest wait that a pong may be asked for

    host_rate: float = 64.0  # requests a second that one host may ask ...
    host_burst: int = 256  # ... and at once
    hosts: int = 4096  # whose requests are counted

    records: int = 32_768  # announcements in all ...
    topic_records: int = 4096  # ... and of one topic
    share: int = 16  # of everything that is kept, one network may fill this part at most
    forwards: int = 32_768  # keys that we relay handshakes for
    refreshes: int = 8192
    bumps: int = 16_384
    record_life: float = 20 * 60.0
    values: int = 16_384  # of either kind, mutable and immutable ...
    value_bytes: int = 16 << 20  # ... and their size together, per kind
    value_life: float = 48 * 3600.0
    bump_drift: float = 60.0  # that a bump may lie in the future
