"""A peer that passed the handshake and sends any message: a session ends or goes on, and never raises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.inner import Failed, Send
from identity.noise import NoiseSession
from tests.unit import test_identity_invite as invite
from tests.unit import test_identity_pairing as pairing

BODIES = st.tuples(st.integers(0, 255), st.binary(max_size=300))
HANDSHAKE = {"phone": 2, "desk": 1, "ada": 1, "bob": 1}  # messages of each that the handshake itself takes


def instead(session: NoiseSession, plaintext: bytes) -> bytes:
    """As if the last transport message had been this one."""
    session._connection.noise_protocol.cipher_state_encrypt.n -= 1
    return session.encrypt(plaintext)


def says(told: pairing.Talk | invite.Talk, who: str, at: int, plaintext: bytes) -> list[str]:
    def bend(sender: str, n: int, data: bytes) -> bytes:
        if (sender, n) != (who, at):
            return data
        return instead(getattr(told, who)._noise, plaintext)

    told.bend = bend
    return told.run()


@pytest.mark.parametrize(("who", "at"), [("phone", n) for n in range(3, 7)] + [("desk", n) for n in range(2, 5)])
def test_pairing_session_never_raises_for_any_message_at_any_step(who: str, at: int) -> None:
    whole = pairing.talk()
    whole.run()
    assert len(whole.sent[who]) >= at > HANDSHAKE[who]

    @settings(max_examples=20, deadline=None)
    @given(BODIES)
    def anything(message: tuple[int, bytes]) -> None:
        seen = says(pairing.talk(typed=[None] * 4), who, at, bytes((message[0],)) + message[1])
        assert "desk Granted" not in seen or (who, at) in {("phone", 6), ("desk", 4)}

    anything()


@pytest.mark.parametrize(("who", "at"), [("ada", 2), ("ada", 3), ("bob", 2)])
def test_invite_session_never_raises_for_any_message_at_any_step(who: str, at: int) -> None:
    @settings(max_examples=30, deadline=None)
    @given(BODIES)
    def anything(message: tuple[int, bytes]) -> None:
        told = invite.Talk(invite.inviter(), invite.invitee())
        seen = says(told, who, at, bytes((message[0],)) + message[1])
        assert "ada InviteeJoined" not in seen or (who, at) == ("ada", 3)

    anything()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_any_payload_in_a_handshake_message_ends_the_session(data: bytes) -> None:
    """The handshake of somebody who holds the text, with anything as its payload."""
    bob, ada = invite.invitee(), invite.inviter()
    bob.start(invite.NOW)
    eve = invite.invitee()
    assert [type(e).__name__ for e in ada.receive(eve._noise.write(data), invite.NOW)] == ["Stray"]
    shown = pairing.display()
    phone = pairing.approver(shown.code.payload)
    desk = shown.connected(pairing.OUTER)
    (first,) = phone.start(pairing.NOW)
    assert isinstance(first, Send)
    desk._noise.read(first.data)
    (last,) = phone.receive(desk._noise.write(data), pairing.NOW)
    assert isinstance(last, Failed)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=100))
def test_pairing_succeeds_after_any_text_was_typed_as_code(typed: str) -> None:
    seen = pairing.talk(typed=[typed, None, None, None]).run()
    assert seen[-1] == "desk PairingDone"
