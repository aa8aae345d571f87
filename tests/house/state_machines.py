"""`docs/state-machines.md`, made from the tables of transitions: `python -m tests.house.state_machines` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from identity import approver, invitee, inviter, joiner
from identity.transitions import Call, Event, S
from tests.house.names import ROOT

PAGE = ROOT / "docs" / "state-machines.md"
HEAD = """# State machines

Made from the tables `TRANSITIONS` in `identity/` by `python -m tests.house.state_machines`; do not edit.

A session starts at the black dot and ends at the ringed one. An arrow names what makes the session go on: a message of
the other side in capitals (`Noise 1` to `Noise 3` are its handshake), or a call of the shell with brackets. Not drawn,
because it holds in every state: a refusal, a message out of turn, a lost connection and a deadline that has passed end
the session, and a call that the state does not take does nothing. What the messages hold is in
[protocol.md](protocol.md).
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """One core: a heading for people, the file that holds it, and its table as (state, event, next state)."""

    title: str
    path: str
    first: Enum
    steps: tuple[tuple[Enum, Event, Enum], ...]

    @property
    def states(self) -> list[Enum]:
        return list(type(self.first))


def machine(title: str, path: str, first: S, table: Mapping[tuple[S, Event], S]) -> Machine:
    """One core as this page shows it; `first` is the state in which it begins."""
    return Machine(title, path, first, tuple((state, event, then) for (state, event), then in table.items()))


MACHINES = (
    machine("Pairing: the device that approves", "identity/approver.py", approver.State.START, approver.TRANSITIONS),
    machine("Pairing: the new device", "identity/joiner.py", joiner.State.NOISE_1, joiner.TRANSITIONS),
    machine("Invite: the side that made it", "identity/inviter.py", inviter.State.NOISE, inviter.TRANSITIONS),
    machine("Invite: the side that was given it", "identity/invitee.py", invitee.State.START, invitee.TRANSITIONS),
)


def name_of(event: Event) -> str:
    """An event as the page shows it."""
    if isinstance(event, IntEnum):
        return event.name
    return str(event.value) if isinstance(event, Enum) else str(event)


def render() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for machine in MACHINES for line in _section(machine))])


def _section(machine: Machine) -> Iterator[str]:
    yield f"## {machine.title}"
    yield ""
    yield f"Code: `{machine.path}`."
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {machine.first.name}"
    for state, event, then in machine.steps:
        yield f"    {state.name} --> {'[*]' if then.name == 'OVER' else then.name} : {name_of(event)}"
    yield "```"
    yield ""
    yield "| state | | next |"
    yield "|---|---|---|"
    for state in machine.states:
        rows = [(event, then) for at, event, then in machine.steps if at is state]
        following = ", ".join(f"{_quoted(event)} → {then.name}" for event, then in rows)
        yield f"| {state.name} | {state.value} | {following} |"
    yield ""


def _quoted(event: Event) -> str:
    return f"`{name_of(event)}`" if isinstance(event, Call) else name_of(event)


if __name__ == "__main__":
    PAGE.write_text(render())
