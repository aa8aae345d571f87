"""Switches of the fold: each is a rule of section 11 of docs/protocol.md that a seeded fault turns off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """All true: the fold as the page says it. One false: a fault that the comparison has to notice."""

    newest_word: bool = True
    """"Out": a later word of R undoes a `revoke`."""
    nearest_rank: bool = True
    """"Closes": among removals rank 0 decides before rank 1."""
    own_past: bool = True
    """"Past": an entry that leaves out an earlier one of its feed never counts."""
    appointed_stay: bool = True
    """"The fold" 1: an admin's removal of an admin is dropped."""
    spares: bool = True
    """"Closes": a close spares the succession of a lost device."""
    unnamed_end: bool = True
    """"Closes": a removal ends at 0 what it does not name."""
    standing_newcomers: bool = True
    """"Out": `add`, `admit` and `succeed` have to show the device as standing."""


AS_WRITTEN = Rules()
