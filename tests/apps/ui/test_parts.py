"""Parts of the windows that can be tested without one: fonts, markup, layouts, pieces of long texts."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from apps.cli.main import main

HERE = find_spec("kivy") is not None and find_spec("kivymd") is not None
needs_kivy = pytest.mark.skipif(not HERE, reason="needs kivy and kivymd")


@pytest.mark.parametrize("command", ["phone", "desktop"])
@pytest.mark.parametrize("missing", ["kivy", "kivymd"])
def test_command_without_ui_packages_ends_with_a_sentence(
    command: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing or name.startswith("apps.widgets")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("apps.mobile.main", "apps.desktop.main"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    real = sys.meta_path[:]

    class Absent:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent, *real])
    code = main(["--profile", str(tmp_path / "none"), "--json", command])
    assert code == 1
    assert '"not_available_yet"' in capsys.readouterr().out


@needs_kivy
def test_markup_in_messages_is_shown_as_text() -> None:
    from apps.widgets.fonts import markup

    assert markup("[b]x[/b] & [ref=a]") == "&bl;b&br;x&bl;/b&br; &amp; &bl;ref=a&br;"
    assert markup("naïve résumé") == "naïve résumé"  # Roboto has it
    assert "[font=Icons]" in markup("fine 👍🏽") and "\U0001f3fd" not in markup("fine 👍🏽")
    assert markup("\u200d\ufe0f") == ""
    assert markup("\U000f0000x").endswith("x")  # no font has it: a box, no failure


@needs_kivy
def test_coverage_of_a_font_and_of_files_that_are_no_fonts(tmp_path: Path) -> None:
    from apps.widgets.coverage import read_coverage
    from apps.widgets.fonts import REGULAR

    roboto = read_coverage(REGULAR)
    assert [char in roboto for char in "aÄяλ中👍"] == [True, True, True, True, False, False]
    for name, data in {"empty": b"", "lies": b"\0\1\0\0\xff\xff" + b"\xff" * 400, "text": b"hello" * 99}.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert "a" not in read_coverage(path)
    assert "a" not in read_coverage(tmp_path / "nothing")


def test_coverage_of_truncated_fonts_raises_nothing(tmp_path: Path) -> None:
    pytest.importorskip("kivymd", reason="needs kivy and kivymd")
    from apps.widgets.coverage import read_coverage
    from apps.widgets.fonts import REGULAR

    whole = REGULAR.read_bytes()
    path = tmp_path / "cut.ttf"
    for size in range(0, 4096, 61):
        path.write_bytes(whole[:size])
        read_coverage(path)


@needs_kivy
def test_pieces_of_a_long_text_are_complete_and_bounded() -> None:
    from apps.widgets.chat import MAX_LINES, PIECE, pieces_of

    verses = "\n".join(f"Verse {number} of a very long song" for number in range(500))
    prose = "word " * 12_000
    for text in (verses, prose, "", "one\n\n\ntwo", f"{prose}\n{verses}"):
        pieces = pieces_of(text)
        assert "".join(pieces).replace("\n", "") == text.replace("\n", "")
        assert max(map(len, pieces)) <= PIECE and max(piece.count("\n") for piece in pieces) <= 40
    ends = pieces_of("y\n" * 32_000)
    assert ends[-1] == f"… {32_001 - MAX_LINES} more lines. Copy the message to read them."
    assert len(ends) < MAX_LINES / 30
