"""The answering side of one port: which keys listen, how many handshakes one host may send, which answers are repeated.

`docs/protocol.md`, "Handshake".  An answer costs four products on the curve and a half-open connection, so requests of
strangers are counted before anything is computed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from netstack.connect.allowance import Allowance
from netstack.limits import Limits
from netstack.ports import SERVER
from netstack.wire.handshake import Agreement, answer, target_of
from netstack.wire.messages import NoisePayload

MakeReply = Callable[[bytes, NoisePayload], NoisePayload | None]


class Listener:
    """Keys that listen on one port.  Everything it remembers is bounded by `limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._keys: dict[bytes, SigningKey] = {}  # target -> key
        self._answers: OrderedDict[bytes, tuple[float, bytes, int]] = (
            OrderedDict()
        )  # target and message 1 -> since, message 2, port
        self._allowance = Allowance(limits.handshake_burst, limits.handshake_rate, limits.hosts)

    def listen(self, key: SigningKey) -> None:
        """Answers handshakes for `key`."""
        self._keys[target_of(key.public)] = key

    def unlisten(self, public: bytes) -> None:
        """Answers no new ones for that key."""
        self._keys.pop(target_of(public), None)

    @property
    def keys(self) -> list[bytes]:
        """The public keys that listen."""
        return [key.public for key in self._keys.values()]

    def repetition(self, target: bytes, message: bytes, now: float) -> tuple[bytes, int] | None:
        """The answer that this very message 1 got before, and the port it went out from: whoever repeats it must get
        the same one.  Of that key alone: another key's answer would tell that both live here."""
        known = self._answers.get(target + message)
        if known is None or now - known[0] > self._limits.answer_life:
            return None
        return known[1], known[2]

    def answered_from(self, target: bytes, message: bytes, port: int) -> None:
        """The answer to `message` goes out from `port`, as often as it is asked for."""
        known = self._answers.get(target + message)
        if known is not None:
            self._answers[target + message] = known[0], known[1], port

    def answer(
        self, target: bytes, message: bytes, host: str, now: float, rng: Random, reply: MakeReply
    ) -> tuple[bytes, Agreement | None] | None:
        """Message 2 and what was agreed on (nothing, where the reply is an error); None to stay silent."""
        key = self._keys.get(target)
        if key is None or not self._allowance.spend(host, now):
            return None
        try:
            answered = answer(key, message, rng, reply)
        except DecodeError:
            return None
        if answered is not None:
            self._answers[target + message] = (now, answered[0], SERVER)
            while len(self._answers) > self._limits.answers or self._oldest_is_stale(now):
                self._answers.popitem(last=False)
        return answered

    def _oldest_is_stale(self, now: float) -> bool:
        return bool(self._answers) and now - next(iter(self._answers.values()))[0] > self._limits.answer_life
