"""Why the guard refuses: numbered rules, one sentence each, the same in code, logs and `docs/protocol.md`."""

from __future__ import annotations

from enum import IntEnum

from identity.errors import DecodeError


class Rule(IntEnum):
    """Numbers are stable; a retired rule's number is not used again."""

    sentence: str

    def __new__(cls, number: int, sentence: str = "") -> Rule:
        rule = int.__new__(cls, number)
        rule._value_ = number
        rule.sentence = sentence
        return rule

    SIZE = 1, "The Yjs update is larger than 192 KiB."
    KIND = 2, "The document kind or the version of its root list is unknown."
    PAGE = 3, "The document kind has no place in this space."
    SHORT = 4, "The bytes end early or a length points past them."
    SECTIONS = 5, "An update holds exactly one client section."
    COUNT = 6, "A section holds 1 to 64 structs."
    CLIENT = 7, "The client id is not that of this entry."
    CLOCK = 8, "The clock does not start at 0."
    CONTENT = 9, "A struct is not ContentAny: no nested, deleted, moved, skipped, embedded or other content is taken."
    ORIGIN = 10, "A struct names an origin or a right origin."
    PARENT = 11, "A struct's parent is an id and not a root by name."
    ROOT = 12, "The root is not on the list of this document kind."
    KEY = 13, "The key is not writer/seq/n of this entry and this struct."
    VALUE = 14, "A struct does not hold exactly one JSON string."
    TEXT = 15, "A string is not UTF-8."
    DELETES = 16, "The delete set is not empty."
    TRAILING = 17, "Bytes follow the end of the update."
    FORM = 18, "The bytes are not those that encoding the same content gives."


class Unscannable(DecodeError):
    """These bytes are not an update of the admitted subset; `rule` says why."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.sentence)
        self.rule = rule
