"""The small parts: routing table, tokens, sampler, quota, store."""

from __future__ import annotations

import random

from netstack.dht.contact import Contact, Scope, contact_at, scope_of, shared_prefix
from netstack.dht.health import Health, HealthMonitor
from netstack.dht.limits import DhtLimits
from netstack.dht.quota import Quota
from netstack.dht.records import Mutable
from netstack.dht.sampler import NatSampler
from netstack.dht.store import ExpiringCache, Records, Store
from netstack.dht.table import Entry, K, RoutingTable
from netstack.dht.token import Tokens

OWN = bytes(32)


def contacts(count: int, seed: int = 0) -> list[Contact]:
    draw = random.Random(seed)
    return [
        contact_at((f"198.18.{draw.randrange(256)}.{draw.randrange(256)}", 1 + draw.randrange(65535)))
        for _ in range(count)
    ]


def test_bucket_holds_at_most_twenty_nodes() -> None:
    table = RoutingTable(OWN)
    far = [contact for contact in contacts(200) if shared_prefix(0, contact.number) == 0]
    added = [table.add(Entry(contact, 0)) for contact in far]
    assert added == [True] * K + [False] * (len(far) - K)
    assert not table.add(Entry(far[0], 0)), "it is there already"
    assert table.remove(far[0].id) is not None
    assert table.remove(far[0].id) is None
    assert table.add(Entry(far[-1], 0))


def test_a_node_is_not_in_its_own_table() -> None:
    own = contact_at(("198.18.0.1", 49737))
    assert not RoutingTable(own.id).add(Entry(own, 0))


def test_closest_returns_the_nodes_nearest_by_xor_distance() -> None:
    table = RoutingTable(contacts(1, 5)[0].id)
    for contact in contacts(2000, 6):
        table.add(Entry(contact, 0))
    known = [entry.contact for entry in table]
    for target in [contact.id for contact in contacts(50, 7)] + [table.own, bytes(32)]:
        number = int.from_bytes(target, "big")
        assert table.closest(target) == sorted(known, key=lambda contact: contact.number ^ number)[:K]


def test_table_rebased_to_another_id_keeps_nodes_that_fit() -> None:
    table = RoutingTable(OWN)
    for contact in contacts(1000):
        table.add(Entry(contact, 0))
    other = table.rebased(contacts(1, 9)[0].id)
    assert {entry.contact for entry in other} <= {entry.contact for entry in table}
    assert len(other) > 2 * K


def test_scope_of_loopback_private_public_and_unusable_addresses() -> None:
    told = {
        ("0.0.0.0", 5): Scope.NOWHERE,
        ("8.8.8.8", 0): Scope.NOWHERE,
        ("224.0.0.251", 5353): Scope.NOWHERE,
        ("255.255.255.255", 9): Scope.NOWHERE,
        ("127.9.9.9", 9): Scope.LOOPBACK,
        ("10.1.1.1", 9): Scope.PRIVATE,
        ("172.31.0.1", 9): Scope.PRIVATE,
        ("192.168.7.7", 9): Scope.PRIVATE,
        ("169.254.0.1", 9): Scope.PRIVATE,
        ("172.32.0.1", 9): Scope.PUBLIC,
    }
    assert {address: scope_of(address) for address in told} == told


def test_tokens_live_for_seven_to_fifteen_seconds() -> None:
    tokens = Tokens(random.Random(1).randbytes)
    token = tokens.token("198.18.0.1", 7.4)
    assert tokens.valid(token, "198.18.0.1", 7.4)
    assert not tokens.valid(token, "198.18.0.2", 7.4), "another host"
    assert tokens.valid(token, "198.18.0.1", 14.9)
    assert not tokens.valid(token, "198.18.0.1", 15.1)
    early = tokens.token("198.18.0.1", 22.6)
    assert tokens.valid(early, "198.18.0.1", 37.4)
    assert not tokens.valid(early, "198.18.0.1", 37.6)
    late = tokens.token("198.18.0.1", 40.0)
    assert not tokens.valid(late, "198.18.0.1", 80.0), "two turns passed unseen"


def believed(*samples: tuple[str, int]) -> tuple[str | None, int]:
    sampler = NatSampler()
    for sample in samples:
        sampler.add(sample)
    return sampler.host, sampler.port


def test_nat_sampler_verdict_for_given_samples() -> None:
    a, b = ("192.0.2.1", 10), ("192.0.2.2", 20)
    assert believed() == (None, 0)
    assert believed(a) == a
    assert believed(a, b) == (None, 0)
    assert believed(a, a, a, b) == a, "of four samples one may differ"
    assert believed(*[("192.0.2.1", port) for port in range(1, 9)]) == ("192.0.2.1", 0)
    assert believed(*[a] * 16, *[b] * 12) == (None, 0)
    assert believed(*[a] * 16, *[b] * 13) == b, "the ring holds sixteen"


def test_host_above_its_request_quota_is_refused_until_quota_refills() -> None:
    quota = Quota(DhtLimits(host_rate=10, host_burst=5, hosts=3))
    assert [quota.take("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert quota.take("b", 0.0), "others are"
    assert quota.take("a", 0.1)
    assert not quota.take("a", 0.1)
    for host in "cdefg":
        quota.take(host, 1.0)
    assert len(quota) == 3


def test_expiring_cache_is_bounded_in_number_size_share_and_time() -> None:
    cache: ExpiringCache[int] = ExpiringCache(8, 60.0, share=2, most_bytes=3000)
    for at in range(6):
        cache.put(bytes([at]), at, float(at), "greedy")
    assert [cache.get(bytes([at]), 10.0) for at in range(6)] == [None, None, 2, 3, 4, 5], "half of it for one host"
    for at in range(6, 12):
        cache.put(bytes([at]), at, float(at), f"host{at}")
    assert len(cache) == 8
    cache.put(b"large", 99, 12.0, "large", size=2500)
    assert cache.get(b"large", 12.0) == 99
    assert len(cache) == 2, "the old ones made room for its bytes"
    cache.put(b"x", 1, 13.0, "x")
    assert cache.get(b"x", 72.9) == 1
    assert cache.get(b"x", 73.0) is None
    cache.sweep(100.0)
    assert len(cache) == 0
    assert cache._bytes == 0 and cache._shares._networks == {}


def test_one_host_cannot_occupy_a_topic() -> None:
    records = Records(DhtLimits(), random.Random(2).randbytes)
    topic = b"t" * 32
    for at in range(3000):
        records.add(topic, at.to_bytes(32, "big"), b"sybil%d" % at, "203.0.113.66", 0.0)
    for at in range(15):
        records.add(topic, bytes([200, at]) * 16, b"honest%d" % at, f"198.18.0.{at}", 0.0)
    drawn = records.draw(topic, 1.0)
    assert len(drawn) == len(set(drawn)) == 20
    assert sum(peer.startswith(b"honest") for peer in drawn) == 15


def test_announcements_are_bounded_by_topic_and_in_all() -> None:
    records = Records(DhtLimits(records=100, topic_records=10, share=1), random.Random(2).randbytes)
    for at in range(50):
        records.add(b"t" * 32, at.to_bytes(32, "big"), b"", "h", 0.0)
    assert len(records) == 10
    for at in range(500):
        records.add(at.to_bytes(32, "big"), b"k" * 32, b"", f"h{at}", 0.0)
    assert len(records) == 100
    records.sweep(10_000.0)
    assert len(records) == 0
    assert records._topics == {}


def test_store_counts_all_values_and_removes_expired_ones() -> None:
    store = Store(DhtLimits(), random.Random(1).randbytes)
    store.records.add(b"t" * 32, b"k" * 32, b"peer", "h", 0.0)
    store.mutables.put(b"m" * 32, Mutable(1, b"v", bytes(64)), 0.0, "h", 1)
    store.immutables.put(b"i" * 32, b"v", 0.0, "h", 1)
    assert len(store) == 3
    store.sweep(20 * 60.0)
    assert len(store) == 2
    store.sweep(48 * 3600.0)
    assert len(store) == 0


def test_health_changes_only_after_several_ticks_agree() -> None:
    health = HealthMonitor()
    told = []
    answers = timeouts = 0
    for answered, lost in [(10, 0), (0, 5), (0, 5), (0, 5), (6, 0), *[(3, 7)] * 4, *[(9, 1)] * 4, (1, 0), (0, 1)]:
        answers += answered
        timeouts += lost
        told.append(health.update(answers, timeouts))
    online, degraded, offline = Health.ONLINE, Health.DEGRADED, Health.OFFLINE
    assert told == [online, online, offline, offline, online, *[online] * 3, degraded, *[degraded] * 3, *[online] * 3]
