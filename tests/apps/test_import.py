"""20,000 real chat lines: imported on three offline devices, merged, searched, exported, imported again."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sync.search.words import parse, words
from tests.support.processes import Stage, Trio
from tests.support.shared import shared

Three = Callable[[], AbstractAsyncContextManager[Trio]]
COUNT = 20_000
Line = dict[str, str]


def corpus(count: int) -> list[Line]:
    with gzip.open(shared("data/irc-ubuntu.jsonl.gz"), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in itertools.islice(file, count)]


def write(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def scan(lines: list[Line], query: str) -> Counter[str]:
    """The expected result, by a plain scan: every term of the query is among the words of the text."""
    asked = parse(query)
    return Counter(
        line["text"]
        for line in lines
        if all(any(term.low <= word <= term.high for word in words(line["text"]).tokens) for term in asked.terms)
    )


def queries(lines: list[Line]) -> list[str]:
    """Twenty queries: frequent and rare words, pairs, prefixes, capitals, signs, and a word that no line has."""
    count = Counter(word for line in lines for word in set(re.findall("[a-z]+", line["text"].lower())))
    ranked = [word for word, _ in count.most_common() if len(word) > 2]
    common, middle = ranked[:6], ranked[300:900:150]
    rare = [word for word in ranked if count[word] == 1][:3]
    pairs = [f"{common[0]} {common[3]}", f"{common[1]} {middle[0]}", f'"{common[2]}" AND'[:-4]]
    return [*common[:4], *middle, *rare, *pairs, "ubun*", "http*", "INSTALL", "don't", "apt-get", "zyzzyvas"][:20]


def test_offline_imports_of_three_devices_merge_and_are_searchable(three: Three, tmp_path: Path) -> None:
    lines = corpus(COUNT)
    parts = [lines[place::3] for place in range(3)]

    async def story() -> None:
        async with three() as trio:
            chat = trio.group
            files = [write(tmp_path / f"{one.name}.jsonl", part) for one, part in zip(trio.all, parts, strict=True)]
            # No node runs: each import opens its profile itself.
            told = await asyncio.gather(
                *(one.ask("import", chat, str(file)) for one, file in zip(trio.all, files, strict=True))
            )
            assert told == [{"imported": len(part), "skipped": 0} for part in parts]

            for one in trio.all:
                await one.run()
            held = []
            for one in trio.all:
                await one.until(one.node.status, lambda seen: seen.entries >= COUNT, "every entry")
                held.append(await one.holds(chat, COUNT + 3))
            orders = [[message.id for message in seen] for seen in held]
            assert orders[0] == orders[1] == orders[2]
            assert len(set(orders[0])) == COUNT + 3
            shown = Counter((m.source, m.text) for m in held[0] if m.source is not None)
            assert shown == Counter((line["from"], line["text"]) for line in lines)
            times = {(m.source, m.text, m.at.strftime("%Y-%m-%dT%H:%M:%SZ")) for m in held[1] if m.source is not None}
            assert times == {(line["from"], line["text"], line["at"]) for line in lines}

            # Importing the same file again adds nothing.
            again = await trio.desktop.node.import_messages(chat, files[1])
            assert (again.imported, again.skipped) == (0, len(parts[1]))

            asked = queries(lines)
            assert len(asked) == 20
            for one in trio.all:
                for query in asked:
                    wanted = scan(lines, query)
                    hits = await one.node.search(query, chat=chat, limit=1000)
                    assert hits.total == wanted.total(), query
                    found = Counter(hit.text for hit in hits.hits)
                    assert found == wanted if hits.total <= 1000 else found <= wanted, query
            source = Counter(line["from"] for line in lines).most_common(1)[0]
            assert (await trio.friend.node.search("the", chat=chat, author=source[0], limit=1)).total == sum(
                scan([line for line in lines if line["from"] == source[0]], "the").values()
            )
            assert all(check.ok for check in (await trio.phone.node.doctor()).checks)

    asyncio.run(story())


def test_export_and_import_round_trip(tmp_path: Path) -> None:
    lines = corpus(2_000)
    strange = [
        "tabs\tand\nlines",
        "\x1b[31mred\x07",
        "مرحبا 漢字 👩‍👩‍👧",
        " spaces around ",
        'quote " and \\ back',
        "\ufeffmark",
    ]
    lines += [{"at": "2020-02-29T23:59:59.250Z", "from": "someone | else", "text": text} for text in strange]
    lines += [lines[0], lines[0]]  # the line is in the file three times: three messages

    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            here = (await ada.ask("chat", "list"))["chats"][0]["id"]
            file, out = write(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
            total = len(lines)
            assert await ada.ask("import", here, str(file)) == {"imported": total, "skipped": 0}
            assert await ada.ask("export", here, str(out)) == {"exported": total}
            exported = [json.loads(line) for line in out.read_text("utf-8").split("\n") if line]
            key = [(line["at"], line["from"], line["text"]) for line in exported]
            assert sorted(key) == sorted((line["at"], line["from"], line["text"]) for line in lines)
            assert await ada.ask("import", here, str(out)) == {"imported": 0, "skipped": total}
            assert (await ada.cli("export", here, str(out))).code == "file_exists"

            bob = await stage.init("bob")
            there = (await bob.ask("chat", "list"))["chats"][0]["id"]
            assert await bob.ask("import", there, str(out)) == {"imported": total, "skipped": 0}
            back = tmp_path / "back.jsonl"
            assert await bob.ask("export", there, str(back)) == {"exported": total}
            assert back.read_bytes() == out.read_bytes()

    asyncio.run(story())


def test_broken_line_stops_an_import_and_keeps_the_lines_before_it(tmp_path: Path) -> None:
    good = {"at": "2024-01-01T00:00:00Z", "from": "ada", "text": "good"}
    bad = [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"at":"2024-01-01T00:00:00Z","from":"ada"}',
        b'{"at":"yesterday","from":"ada","text":"x"}',
        b'{"at":"2024-01-01T00:00:00","from":"ada","text":"no zone"}',
        b'{"at":1,"from":"ada","text":"x"}',
        b'{"at":"2024-01-01T00:00:00Z","from":"ada","text":""}',
        b'{"at":"2024-01-01T00:00:00Z","from":"ada","text":"nul \\u0000"}',
        b'{"at":"2024-01-01T00:00:00Z","from":"ada","text":"half \\ud800"}',
        b'{"at":"2024-01-01T00:00:00Z","from":"","text":"x"}',
        b'{"at":"2024-01-01T00:00:00Z","from":"ada","text":"' + b"a" * 65_537 + b'"}',
        b'{"at":"2024-01-01T00:00:00Z","from":"ada","text":"' + b"a" * 2_000_000 + b'"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"at":"99999-01-01T00:00:00Z","from":"ada","text":"x"}',
        b'{"at":"0001-01-01T00:00:00+14:00","from":"ada","text":"x"}',
    ]

    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            await ada.run()
            chat = (await ada.node.chats()).chats[0].id
            file = tmp_path / "in.jsonl"
            for number, line in enumerate(bad):
                first = [json.dumps({**good, "text": f"good {number} {at}"}).encode() for at in range(3)]
                file.write_bytes(b"\n".join([*first[:2], line, first[2]]) + b"\n")
                said = await ada.cli("import", chat, str(file)) if number < 2 else None
                if said is not None:
                    assert (said.status, said.code) == (1, "bad_line") and "Line 3" in said.last["error"]["message"]
                    assert b"Traceback" not in said.err
                else:
                    code = None
                    try:
                        await ada.node.import_messages(chat, file)
                    except Exception as error:
                        code = getattr(error, "code", error)
                        assert "Line 3" in str(error), line[:60]
                    assert code == "bad_line", line[:60]
                assert len(await ada.messages(chat)) == 3 * number + 2
                skipped = await ada.node.import_messages(chat, file, skip_bad=True)
                assert (skipped.imported, skipped.skipped) == (1, 3), line[:60]
            assert all(m.source == "ada" and m.text.startswith("good") for m in await ada.messages(chat))

    asyncio.run(story())
