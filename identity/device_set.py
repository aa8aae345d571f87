"""Which devices an identity has: a fold over the union of its statements (`docs/protocol.md`, "Device set").

Three passes, each over a set that no later pass changes, so there is no circle: certificates that reach the root key,
revocations counted by certificates alone, certificates that still stand.  The same union gives the same devices in any
order and with any repetition.  Its cost is near linear, so that a thief's thousands of statements need no small bound:
any bound lets backdated certificates push out the devices that would revoke him.  `MAX_COUNTED` is the backstop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from identity.ancestry import ancestry
from identity.errors import KithkinError
from identity.statement import Certificate, Revocation, Signer, Statement, encode_statements

MAX_DEVICES = 6
MAX_COUNTED = 8_192  # certificates that one fold follows, nearest to the root key first


@dataclass(frozen=True, slots=True)
class Device:
    """An active device.  `since` is the Unix second it counts from: its certificate's, or its issuer's if later."""

    id: bytes
    signing: bytes
    agreement: bytes
    since: int

    @property
    def signer(self) -> Signer:
        """(S, D): how a statement names this device as its signer."""
        return self.signing, self.agreement


@dataclass(frozen=True, slots=True)
class Fold:
    """What the three passes found.  `reached` keeps the order of distance from the root key."""

    generation: int
    listed: frozenset[bytes]
    reached: tuple[Certificate, ...]
    revocations: tuple[Revocation, ...]
    live: frozenset[bytes]
    since: Mapping[bytes, int]

    @property
    def revoked(self) -> frozenset[bytes]:
        """Ids of devices that a counting revocation names."""
        return frozenset(r.device for r in self.revocations)


def active_devices(statements: Iterable[Statement], root: bytes) -> tuple[Device, ...]:
    """The devices of the identity `root`, oldest first, at most six.  Statements of other identities are ignored."""
    result = fold(statements, root)
    if result is None:
        return ()
    keys = {c.device: c for c in result.reached}
    revoked = result.revoked
    ranked = sorted((since, device) for device, since in result.since.items() if device not in revoked)
    return tuple(
        Device(device, keys[device].signing, keys[device].agreement, since) for since, device in ranked[:MAX_DEVICES]
    )


def revoked_devices(statements: Iterable[Statement], root: bytes) -> frozenset[bytes]:
    """Ids of devices that a counting revocation names."""
    result = fold(statements, root)
    return frozenset() if result is None else result.revoked


def standing_devices(statements: Iterable[Statement], root: bytes) -> frozenset[bytes] | None:
    """Ids of devices with a standing certificate that nobody revoked, beyond the six places too; None while the root
    key has said nothing."""
    result = fold(statements, root)
    return None if result is None else frozenset(result.since) - result.revoked


def out_devices(statements: Iterable[Statement], root: bytes) -> frozenset[bytes]:
    """Ids of certified devices that are out: revoked, or not standing at the newest generation among the statements.

    Empty while the root key has said nothing.
    """
    given = [s for s in statements if s.identity == root]
    standing = standing_devices(given, root)
    if standing is None:
        return frozenset()
    return frozenset(s.device for s in given if isinstance(s, Certificate)) - standing


def generation_of(statements: Iterable[Statement], root: bytes) -> int | None:
    """The generation that new statements of an active device carry; None while the root key has said nothing."""
    mine = [s.generation for s in statements if s.identity == root and s.issuer is None]
    return max(mine, default=None)


def issued_by(statements: Iterable[Statement], root: bytes, device: bytes) -> tuple[Certificate, ...]:
    """Certificates in force that `device` issued: those that its revocation lists stay in force."""
    result = fold(statements, root)
    if result is None:
        return ()
    return tuple(c for c in result.reached if c.issuer == device and c.id in result.live)


def certificates_to_keep(statements: Iterable[Statement], root: bytes) -> tuple[bytes, ...]:
    """One certificate id for each active device, oldest device first: what the root key lists when it keeps them.

    One that certifies a device in the same session lists at most five, for of seven the youngest is left out.  Never
    list a revoked device: revocations of lower generations are replaced too, and it would be back.
    """
    given = list(statements)
    result = fold(given, root)
    if result is None:
        return ()
    earliest: dict[bytes, Certificate] = {}
    for c in sorted((c for c in result.reached if c.id in result.live), key=lambda c: (c.created, c.id)):
        earliest.setdefault(c.device, c)
    return tuple(earliest[d.id].id for d in active_devices(given, root))


def list_of(statements: Iterable[Statement], root: bytes) -> tuple[bytes, ...]:
    """What each further statement of the root key in its newest generation lists: the same as those before it.

    A space may know one of them alone, and by one that lists less a kept device would be out.
    """
    given = [s for s in statements if s.identity == root and s.issuer is None]
    newest = generation_of(given, root)
    return tuple(sorted({i for s in given if s.generation == newest for i in s.stay}))


def relevant(statements: Iterable[Statement], root: bytes) -> tuple[Statement, ...]:
    """The statements that decide the set now, nearest to the root key first; the fold over them is the same.

    For sending where a bound holds.  A store keeps all: what is replaced today may be listed tomorrow.
    """
    given = [s for s in statements if s.identity == root]
    result = fold(given, root)
    if result is None:
        return ()
    chosen: dict[bytes, Statement] = {s.id: s for s in given if s.issuer is None and s.generation == result.generation}
    chosen |= {c.id: c for c in result.reached} | {r.id: r for r in result.revocations}
    return tuple(chosen.values())


def sendable(statements: Iterable[Statement], root: bytes) -> tuple[Statement, ...]:
    """All statements of the identity if `encode_statements` takes them, else the relevant ones.

    Raises KithkinError `too_many_devices` where even those are too many: leaving some out would change the set.
    """
    mine = tuple(s for s in statements if s.identity == root)
    for chosen in (mine, relevant(mine, root)):
        try:
            encode_statements(chosen)
        except ValueError:
            continue
        return chosen
    raise KithkinError(
        "too_many_devices", "One of your devices has made far too many others; recover with the phrase to end that."
    )


def fold(statements: Iterable[Statement], root: bytes) -> Fold | None:
    """The three passes; None where the root key has said nothing."""
    unique = {s.id: s for s in statements if s.identity == root}
    of_root = [s for s in unique.values() if s.issuer is None]
    if not of_root:
        return None
    generation = max(s.generation for s in of_root)
    listed = frozenset(i for s in of_root if s.generation == generation for i in s.stay)
    base, reached = reach(unique.values(), generation, listed)
    revocations = counting(unique.values(), generation, reached)
    live = stand(base, reached, revocations)
    return Fold(generation, listed, tuple(reached), tuple(revocations), frozenset(live), ages(base, reached, live))


def reach(
    statements: Iterable[Statement], generation: int, listed: frozenset[bytes]
) -> tuple[set[bytes], list[Certificate]]:
    """Pass 1: certificates that reach the root key at its newest generation, ignoring every revocation.

    The root key's own of that generation and the lower ones it lists (which count as of it from then on), then
    whatever a reached device certified under that generation.
    """
    certificates = [s for s in statements if isinstance(s, Certificate)]
    by_issuer: dict[bytes, list[Certificate]] = {}
    for c in certificates:
        if c.issuer is not None and c.generation == generation:
            by_issuer.setdefault(c.issuer, []).append(c)
    level = [
        c
        for c in certificates
        if (c.issuer is None and c.generation == generation) or (c.generation < generation and c.id in listed)
    ]
    base = {c.id for c in level}
    reached: dict[bytes, Certificate] = {}
    devices: set[bytes] = set()
    while level and len(reached) < MAX_COUNTED:
        level.sort(key=lambda c: (c.created, c.id))
        level = level[: MAX_COUNTED - len(reached)]
        reached |= {c.id: c for c in level}
        new = {c.device for c in level} - devices
        devices |= new
        level = [c for device in new for c in by_issuer.get(device, ()) if c.id not in reached]
    return base, list(reached.values())


def counting(statements: Iterable[Statement], generation: int, reached: list[Certificate]) -> list[Revocation]:
    """Pass 2: revocations of this generation by the root key or a reached device, whether or not that was revoked."""
    signers: set[bytes | None] = {None} | {c.device for c in reached}
    found = [s for s in statements if isinstance(s, Revocation) and s.generation == generation and s.issuer in signers]
    found.sort(key=lambda r: (r.created, r.id))
    return found


def stand(base: set[bytes], reached: list[Certificate], revocations: list[Revocation]) -> set[bytes]:
    """Pass 3: which certificates still stand, down the chain from the root key.

    A certificate falls with its issuer unless every counting revocation of that issuer lists it or was signed under
    it (by a device that stands on it), or was the issuer's own of itself.
    """
    issued: dict[bytes, list[Certificate]] = {}
    for c in reached:
        if c.id not in base and c.issuer is not None:
            issued.setdefault(c.issuer, []).append(c)
    staying = outlast(issued, reached, [r for r in revocations if r.issuer != r.device and r.device in issued])
    live = set(base)
    waiting = [c.device for c in reached if c.id in base]
    while waiting:
        issuer = waiting.pop()
        for c in issued.get(issuer, ()):
            if c.id not in live and (issuer not in staying or c.id in staying[issuer]):
                live.add(c.id)
                waiting.append(c.device)
    return live


def outlast(
    issued: Mapping[bytes, list[Certificate]], reached: list[Certificate], revocations: list[Revocation]
) -> dict[bytes, set[bytes]]:
    """Revoked issuer -> the certificates of it that every revocation of it leaves."""
    if not revocations:
        return {}
    by_device: dict[bytes, list[Certificate]] = {}
    for c in reached:
        by_device.setdefault(c.device, []).append(c)
    contested = [c for device in dict.fromkeys(r.device for r in revocations) for c in issued[device]]
    under = ancestry(by_device, {c.id: bit for bit, c in enumerate(contested)})
    bit_of = {c.id: 1 << bit for bit, c in enumerate(contested)}
    left: dict[bytes, int] = {}
    for r in revocations:
        kept = under.get(r.issuer, 0) if r.issuer is not None else 0
        for listed in r.stay:
            kept |= bit_of.get(listed, 0)
        left[r.device] = left.get(r.device, -1) & kept
    return {device: {c.id for c in issued[device] if bit_of[c.id] & mask} for device, mask in left.items()}


def ages(base: set[bytes], reached: list[Certificate], live: set[bytes]) -> dict[bytes, int]:
    """Device -> the second it counts from: no certificate counts as older than its issuer, of several the earliest.

    A shortest-path search in which the length of a path is its newest certificate; what is taken first is final.
    """
    in_force = sorted((c for c in reached if c.id in live), key=lambda c: (c.created, c.id))
    since: dict[bytes, int] = {}
    issued: dict[bytes, list[Certificate]] = {}
    heap: list[tuple[int, bytes]] = []
    for c in in_force:
        if c.id in base or c.issuer is None:
            heap.append((c.created, c.device))
        else:
            issued.setdefault(c.issuer, []).append(c)
    heap.sort()
    while heap:
        at, device = heappop(heap)
        if device in since:
            continue
        since[device] = at
        for c in issued.get(device, ()):
            if c.device not in since:
                heappush(heap, (max(at, c.created), c.device))
    return since
