"""Reads what links a Markdown file makes and what anchors it offers, from its text alone.

Enough of CommonMark for this repository's own pages: fenced code, code spans, inline links and images, reference
definitions, `#` headings, and `src`, `href`, `srcset` and `id` of HTML.  Anchors are named as GitHub names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FENCE = re.compile(r" {0,3}(```+|~~~+)\s*([\w-]*)")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
INLINE = re.compile(r"(?P<before>!?\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\]\()(?P<target>[^()\s]+)(?P<after>[^()]*\))")
DEFINITION = re.compile(r"(?P<before>^ {0,3}\[[^\]]+\]:\s*)(?P<target>\S+)(?P<after>)")
ATTRIBUTE = re.compile(r"(?P<before><[^>]*?\b(?:src|href|srcset)=\")(?P<target>[^\"]+)(?P<after>\")")
HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
IDENTITY = re.compile(r"\b(?:id|name)=\"([^\"]+)\"")
AUTOLINK = re.compile(r"<(https?://[^>]*)>")
LINKED_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Link:
    """`target` as it is written, in line `line` (from 1)."""

    line: int
    target: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: its language, its text, and its first and last line (from 0, the fences included)."""

    language: str
    text: str
    first: int
    last: int


def fences(text: str) -> list[Fence]:
    """All fenced code blocks of a page, in order.  A block that is never closed reaches to the end."""
    found: list[Fence] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        last = at + 1
        while last < len(lines) and not lines[last].strip().startswith(opened[1]):
            last += 1
        found.append(Fence(opened[2], "\n".join(lines[at + 1 : last]), at, min(last, len(lines) - 1)))
        at = last + 1
    return found


def prose(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of every line outside fenced code."""
    inside = {number for fence in fences(text) for number in range(fence.first, fence.last + 1)}
    for number, line in enumerate(text.split("\n")):
        if number not in inside:
            yield number + 1, line


def replace_targets(text: str, new: Callable[[str], str | None]) -> str:
    """The page with the target of each link written anew; where `new` gives None, the link's words stay alone.

    Code is left alone.
    """

    def rewrite(found: re.Match[str]) -> str:
        target = new(found["target"])
        if target is None:
            return found["before"].lstrip("!")[1:-2]
        return found["before"] + target + found["after"]

    lines = text.split("\n")
    for number, line in prose(text):
        spans: list[str] = []

        def hide(found: re.Match[str], spans: list[str] = spans) -> str:
            spans.append(found[0])
            return f"\0{len(spans) - 1}\0"

        def show(found: re.Match[str], spans: list[str] = spans) -> str:
            return spans[int(found[1])]

        hidden = CODE_SPAN.sub(hide, line)
        for pattern in (INLINE, DEFINITION, ATTRIBUTE):
            hidden = pattern.sub(rewrite, hidden)
        lines[number - 1] = re.sub(r"\0(\d+)\0", show, hidden)
    return "\n".join(lines)


def links(text: str) -> list[Link]:
    """Every link and image of a page, external ones and bare anchors too."""
    found: list[Link] = []
    for number, line in prose(text):
        bare = CODE_SPAN.sub("", line)
        for pattern in (INLINE, DEFINITION, ATTRIBUTE):
            found += [Link(number, match["target"]) for match in pattern.finditer(bare)]
            # An image inside a link's text is a second link of the same words.
            found += [
                Link(number, inner["target"])
                for match in pattern.finditer(bare)
                for inner in INLINE.finditer(match["before"][1:])
            ]
        found += [Link(number, match[1]) for match in AUTOLINK.finditer(bare)]
    return found


def anchors(text: str) -> set[str]:
    """What may stand behind `#`: the headings by GitHub's rule (a repeated one gets -1, -2 …) and ids in HTML."""
    found: set[str] = set()
    for _, line in prose(text):
        found.update(IDENTITY.findall(line))
        heading = HEADING.match(line)
        if heading is None:
            continue
        first = slug(heading[2])
        name, count = first, 0
        while name in found:
            count += 1
            name = f"{first}-{count}"
        found.add(name)
    return found


def slug(heading: str) -> str:
    """GitHub's anchor of one heading: lower case, without punctuation, a hyphen for every space."""
    text = LINKED_TEXT.sub(r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
