"""Commands that are named but not there yet: each answers `not_available_yet` with one sentence."""

from __future__ import annotations

from apps.cli.command import Later

RELAY = Later("Relays come later; until then two devices meet when both run.")
FILES = Later("Files in messages come later; text can be sent now.")
FILE_SAVE = Later("Files in messages come later, so there is none to save.")
PICTURE = Later("Profile pictures come with files; name and about can be set now.")
