"""Talks: what a direct space, or a group, says about groups that are offered or go on elsewhere."""

from __future__ import annotations

from crdt.docs.facts import ABOUT_OFFERS
from crdt.docs.timeline import GroupTalk, fold_offers
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.space import Space


def group_talks(profile: Profile, space: Space) -> dict[bytes, GroupTalk]:
    """Offered space id -> what was said about it there."""
    found: dict[bytes, GroupTalk] = space.facts.remember(
        "offers",
        ABOUT_OFFERS,
        lambda: fold_offers(timeline.facts_of_kind(profile.store, space.id, ABOUT_OFFERS), space.policy()),
    )
    return found
