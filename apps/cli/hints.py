"""A next step for every error that a person can meet: one a code, others for sentences that it does not fit."""

from __future__ import annotations

HINTS = {
    "usage": "`kithkin --help` lists the commands, `kithkin COMMAND --help` the arguments of one.",
    "profile_in_use": "Stop `kithkin run` or the window that has this profile open, then run this again.",
    "profile_not_found": "Make one with `kithkin init --name NAME`, or name another with --profile.",
    "profile_unreadable": "Name a folder of yours with --profile; an existing profile must be readable by you alone.",
    "profile_newer": "Update Kithkin; this version would damage what a newer one wrote.",
    "wrong_passphrase": "Try again; nothing was changed.",
    "keystore_corrupt": "Restore the profile from a backup, or link this device anew from another one.",
    "no_passphrase": "Set KITHKIN_PASSPHRASE_FILE to a file that holds it, or run the command in a terminal.",
    "not_a_pair_code": "`kithkin link` on the new device shows the text to approve.",
    "not_an_invite": "`kithkin contact invite` on the other side makes an invite.",
    "payload_damaged": "Copy the whole text once more; a missing letter is enough to spoil it.",
    "expired": "Ask for a fresh one.",
    "already_used": "An invite is for one person; ask for another.",
    "own_code": "That text is yours: give it to the other device or person.",
    "wrong_code": "Begin again with `kithkin link`; compare the digits on both screens.",
    "too_many_devices": "Six devices are the most; one has to go first.",
    "too_many_members": "Fifty members are the most.",
    "phrase_invalid": "Check the 24 words and their order.",
    "profile_exists": "Use it as it is, or name an empty folder with --profile.",
    "not_found": "`kithkin chat list`, `contact list`, `device list` and `read CHAT` show the ids there are.",
    "not_allowed": "",
    "empty_text": "Write something, or pass `-` to read it from standard input.",
    "text_too_long": "Cut it into several.",
    "text_invalid": "Use valid UTF-8 without NUL characters.",
    "backup_damaged": "Look for an older copy of that file; `restore --salvage` saves what it can of this one.",
    "bad_query": "Search for whole words; `word*` finds what begins with it.",
    "bad_line": "Mend that line; `kithkin import --skip-bad` leaves such lines out.",
    "file_exists": "Name another file, or pass --force to replace it.",
    "index_failed": "`kithkin doctor --repair` makes the index anew, `kithkin doctor` names what keeps it; "
    "KITHKIN_SEARCH=duckdb or fts5 chooses that.",
    "system_refused": "Mend what the sentence names (rights, open files, a path), then try again.",
    "disk_full": "Make room; everything acknowledged so far is safe.",
    "update_needed": "Install the newest version; what the others wrote meanwhile is here already.",
    "timeout": "Look whether the other side runs and is reachable, then try again.",
    "internal": "Set KITHKIN_DEBUG=1 and run it again to see where; please report it.",
}
"""`not_available_yet` needs none: its sentence says what there is instead.  `not_allowed` has hints for some of its
sentences alone."""

SENTENCES = {
    ("not_allowed", "Only the creator"): "`kithkin chat members CHAT` names the creator and the admins.",
    ("not_allowed", "Only its author or an admin"): "`kithkin chat members CHAT` names the admins; "
    "`kithkin delete` without --everyone deletes it for you.",
    ("not_allowed", "This device is not in that chat yet."): "`kithkin chat join CHAT` says yes to an invitation; else "
    "wait until the person who invited you is online.",
    ("not_allowed", "This device was shut out of"): "If that was not you, your 24 words decide: `kithkin device keep`.",
    ("not_allowed", "That is this device: "): "`kithkin profile erase` takes this profile off this machine.",
    ("phrase_invalid", "These are good words, but of another identity"): "Take the words of this profile, or name "
    "another profile with --profile.",
    ("backup_damaged", "That file holds no finished backup"): "Look for an older copy of that file.",
    ("backup_damaged", "What is left of that backup is no profile"): "Look for an older copy of that file.",
    ("no_passphrase", "The two passphrases differ."): "Run the command again and type the same passphrase twice.",
    ("no_passphrase", "The passphrase file "): "Name a readable file that holds it with KITHKIN_PASSPHRASE_FILE.",
    ("no_passphrase", "A backup needs its own passphrase."): "Set KITHKIN_BACKUP_PASSPHRASE_FILE to a file with it, or "
    "run the command in a terminal.",
    ("file_exists", "That file exists and is no backup"): "Name another file: nothing is written over.",
    ("file_exists", "That file holds the backup of"): "Name another file: nothing is written over.",
    ("not_found", "That backup cannot be read: "): "Check the path; it counts from the folder that you are in.",
    ("no_passphrase", "Nobody can be asked here: "): "Write the new passphrase to a file and name it with --new-file.",
    ("no_passphrase", "This profile opens through the system's keyring only."): "Unlock the keyring of this system.",
    ("not_found", "There is no such chat here."): "`kithkin chat list` shows the chats and their ids.",
    ("not_found", "There is no such contact here."): "`kithkin contact list` shows the contacts and their ids.",
    ("not_found", "There is no such device here."): "`kithkin device list` shows the devices and their ids.",
    ("not_found", "There is no such message here."): "`kithkin read CHAT` shows the messages and their ids.",
    ("not_found", "There is no such file."): "Check the path; it counts from the folder that you are in.",
    ("not_found", "That file cannot be read: "): "Name a file that you may read.",
}
"""By code and the beginning of a sentence."""

TYPED = "Run the command again and type a passphrase."


def hint_of(code: str, sentence: str, *, interactive: bool) -> str | None:
    """The next step after an error; None where its sentence says it.  interactive: whether a person could be asked for
    the passphrase, who then needs no other way to give it."""
    for (of, beginning), hint in SENTENCES.items():
        if of == code and sentence.startswith(beginning):
            return hint
    return TYPED if code == "no_passphrase" and interactive else HINTS.get(code) or None
