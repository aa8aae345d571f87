"""`docs/protocol.md`: its examples are real bytes, its sections and links exist, and code quotes its titles.

An example is a fenced block with the title of a vector file.  Each of its lines gives the bytes of one field in hex
(`…` for those left out), their number, and the field's name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crdt.docs.guard import Admit, examine
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.merkle import Tree, leaf_of
from crdt.log.padding import pad
from identity.keys import SigningKey
from sync.replicate.encoding import encode
from sync.replicate.messages import Blocks
from tests.house.names import PACKAGES, ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
VECTORS = ROOT / "tests" / "vectors"
WIDTH = 100
TABLE_WIDTH = 280

EXAMPLE = re.compile(r'^```text title="tests/vectors/([\w-]+\.json)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^([0-9a-f]*)(…?)([0-9a-f]*) +(\d+)  (\S.*)$")
SECTION = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
HEADING = re.compile(r"^#{2,4} (.+)$", re.MULTILINE)
QUOTE = re.compile(r'`docs/protocol\.md`(?: (\d+))?, (?:from )?((?:"[^"]+"(?:, | and )?)+)')

# Sections without bytes of their own: a journey, a fold, files that stay on the device, behaviour, lines of JSON.
WITHOUT_BYTES = {1, 11, 20, 21, 29, 31, 32}


def sections() -> dict[int, str]:
    """The text of each section, its heading included, by number."""
    starts = list(SECTION.finditer(PAGE))
    ends = [match.start() for match in starts[1:]] + [len(PAGE)]
    return {int(match[1]): PAGE[match.start() : end] for match, end in zip(starts, ends, strict=True)}


def texts(value: Any) -> list[str]:
    """All strings of a vector file, however deep."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def fields(body: str) -> list[tuple[str, str, str, int, str]]:
    """(hex before, ellipsis, hex after, size, name) of each line of an example."""
    matches = [FIELD.match(line) for line in body.splitlines()]
    assert all(matches), body
    return [(m[1], m[2], m[3], int(m[4]), m[5]) for m in matches if m is not None]


def anchor(heading: str) -> str:
    """The address that GitHub and mkdocs give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize(("name", "body"), EXAMPLE.findall(PAGE))
def test_every_example_occurs_in_its_vector_file(name: str, body: str) -> None:
    pattern, loose = "", []
    for before, gap, after, size, _ in fields(body):
        left_out = 2 * size - len(before) - len(after)
        assert left_out > 0 if gap else left_out == 0, (before, after, size)
        part = before + (f"[0-9a-f]{{{left_out}}}" if gap else "") + after
        pattern += part
        loose.append(part)
    held = texts(json.loads((VECTORS / name).read_text(encoding="utf-8")))
    whole = any(re.search(pattern, text) for text in held)
    # A list of values that are no neighbours, as ids are, names each of them by itself.
    assert whole or all(any(re.fullmatch(part, text) for text in held) for part in loose), body


def test_every_section_with_a_format_has_an_example() -> None:
    without = {number for number, text in sections().items() if not EXAMPLE.search(text)}
    assert without == WITHOUT_BYTES


def test_sections_are_numbered_without_holes() -> None:
    numbers = [int(match[1]) for match in SECTION.finditer(PAGE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_first_pages_link_to_every_section() -> None:
    first = PAGE.split("\n## 2. ", 1)[0]
    assert [number for number in sections() if f"(#{number}-" not in first] == []


def test_lines_fit_a_screen() -> None:
    lines = list(enumerate(PAGE.splitlines(), 1))
    assert [place for place, line in lines if len(line) > (TABLE_WIDTH if line.startswith("|") else WIDTH)] == []


def test_links_lead_to_headings_and_files() -> None:
    anchors = {anchor(heading) for heading in HEADING.findall(PAGE)}
    targets = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert [target for target in targets if target.startswith("#") and target[1:] not in anchors] == []
    pages = [target.split("#")[0] for target in targets if not target.startswith("#")]
    assert [page for page in pages if not (ROOT / "docs" / page).exists()] == []


def test_a_link_that_says_a_section_number_leads_to_that_section() -> None:
    titles = {number: f"{number}-" + anchor(title) for number, title in SECTION.findall(PAGE)}
    wrong = [
        (number, target)
        for number, target in re.findall(r"\[(?:section )?(\d+)\]\(#([^)]+)\)", PAGE)
        if target != titles[number]
    ]
    assert wrong == []


def test_files_named_under_code_exist() -> None:
    missing = []
    for number, text in sections().items():
        line = re.search(r"^Code: (.+?)(?:\n\n|Vectors:|Tests:)", text, re.MULTILINE | re.DOTALL)
        if line is None:
            assert number == 1
            continue
        folder = ""
        for name in re.findall(r"`([^`]+)`", line[1]):
            if re.match(r"(identity|netstack|crdt|sync|apps)/", name):
                folder = name if name.endswith("/") else ""
                path = name
            else:
                path = folder + name
            if not (ROOT / path).exists():
                missing.append((number, path))
    assert missing == []


def test_every_vector_file_is_named_by_the_page() -> None:
    named = set(re.findall(r"`(?:tests/vectors/)?([\w-]+)\.json`", PAGE))
    assert named == {path.stem for path in VECTORS.glob("*.json")}


def test_sections_that_code_quotes_exist() -> None:
    owners = {title: int(number) for number, text in sections().items() for title in HEADING.findall(text)}
    wrong = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for number, quoted in QUOTE.findall(re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))):
                for title in re.findall(r'"([^"]+)"', quoted):
                    word = re.compile(rf"\b{re.escape(title)}\b", re.IGNORECASE)
                    found = {owners[heading] for heading in owners if word.search(heading)}
                    if not found or (number and int(number) not in found):
                        wrong.append((str(Path(path).relative_to(ROOT)), number, title))
    assert wrong == []


def test_the_journey_gives_the_sizes_that_the_code_makes() -> None:
    update = json.loads((VECTORS / "docs.json").read_text(encoding="utf-8"))["updates"][0]
    value, body, seq = update["values"][0][1], bytes.fromhex(update["body"]), update["seq"]
    core, space = bytes.fromhex(update["core"]), bytes(32)
    assert isinstance(examine(body, core, seq), Admit)
    text = encode_plaintext(Plaintext(Kind.UPDATE, 7, (), body))
    key, tag = message_key(bytes(32), core, seq)
    block = seal_entry(key, tag, core, space, seq, text, b"")
    signer = SigningKey.from_seed(bytes(32))
    tree, _ = Tree().extend([leaf_of(block)])
    _, message = encode(Blocks(signer.public, 0, seq, sign_head(signer, tree), (block,), ()))
    in_channel = len(message) + 2
    in_frame = in_channel + 17 + 3
    rows = [
        ("JSON text", f"{len(value)}"),
        ("body of the update entry", f"{len(body)}"),
        ("plaintext; the same padded", f"{len(text)}; {len(pad(text))}"),
        ("entry = block", f"{len(block)}"),
        ("`blocks` message with the head", f"{len(message)}"),
        ("with channel number and message type", f"{in_channel}"),
        ("frame of the secret stream", f"{in_frame}"),
        ("UDX packet", f"{in_frame + 20}"),
    ]
    assert [row for row in rows if f"| {row[0]} | {row[1]} |" not in PAGE] == []
