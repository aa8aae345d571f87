"""Texts as Kivy markup: escaped, with each run in a font that has its characters.

Roboto has Latin, Greek and Cyrillic.  For the rest a font of the system is taken where there is one; the emoji that
people use most are drawn from KivyMD's icon font, in colour.  A character that no font has is drawn as a box.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from kivymd import fonts_path
from kivymd.icon_definitions import md_icons

from apps.widgets.coverage import Coverage, read_coverage

REGULAR = Path(fonts_path) / "Roboto-Regular.ttf"
ICONS = "Icons"
FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "/system/fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
# In the order of preference.  Colour emoji fonts draw nothing in Kivy and are not listed.
NAMES = """
    NotoSans-Regular.ttf NotoSansCJK-Regular.ttc NotoSansSC-Regular.otf DroidSansFallbackFull.ttf DroidSansFallback.ttf
    NotoSansArabic-Regular.ttf NotoNaskhArabic-Regular.ttf NotoSansHebrew-Regular.ttf NotoSansDevanagari-Regular.ttf
    NotoSansBengali-Regular.ttf NotoSansTamil-Regular.ttf NotoSansTelugu-Regular.ttf NotoSansThai-Regular.ttf
    NotoSansGeorgian-Regular.ttf NotoSansArmenian-Regular.ttf NotoSansEthiopic-Regular.ttf NotoSansKhmer-Regular.ttf
    NotoEmoji-Regular.ttf NotoSansSymbols-Regular.ttf NotoSansSymbols2-Regular.ttf NotoSansMath-Regular.ttf
    Symbola_hint.ttf Symbola.ttf DejaVuSans.ttf msyh.ttc msgothic.ttc malgun.ttf segoeui.ttf seguisym.ttf
    Hiragino Sans GB.ttc PingFang.ttc Arial Unicode.ttf
""".split()
_INVISIBLE = frozenset("\ufe0e\ufe0f\u200d\u200b\u2060\ufeff") | {chr(code) for code in range(0x1F3FB, 0x1F400)}
YELLOW, RED, BLUE, GREEN, GREY = "f2b01e", "e5484d", "3b82f6", "30a46c", "8b8d98"
# emoji -> (icon, colour)
EMOJI = {
    "👍": ("thumb-up", YELLOW),
    "👎": ("thumb-down", YELLOW),
    "❤": ("heart", RED),
    "💔": ("heart-broken", RED),
    "😂": ("emoticon-lol", YELLOW),
    "🤣": ("emoticon-lol", YELLOW),
    "😀": ("emoticon-happy", YELLOW),
    "😃": ("emoticon-happy", YELLOW),
    "😄": ("emoticon-happy", YELLOW),
    "😊": ("emoticon", YELLOW),
    "🙂": ("emoticon", YELLOW),
    "😉": ("emoticon-wink", YELLOW),
    "😎": ("emoticon-cool", YELLOW),
    "😍": ("emoticon-excited", YELLOW),
    "😮": ("emoticon-frown", YELLOW),
    "😐": ("emoticon-neutral", YELLOW),
    "🙁": ("emoticon-sad", YELLOW),
    "😢": ("emoticon-cry", YELLOW),
    "😭": ("emoticon-cry", YELLOW),
    "😡": ("emoticon-angry", RED),
    "😘": ("emoticon-kiss", YELLOW),
    "😈": ("emoticon-devil", RED),
    "💀": ("skull", GREY),
    "💩": ("emoticon-poop", "a0693a"),
    "🎉": ("party-popper", YELLOW),
    "🔥": ("fire", "f76b15"),
    "⭐": ("star", YELLOW),
    "✨": ("creation", YELLOW),
    "☀": ("white-balance-sunny", YELLOW),
    "🌧": ("weather-pouring", BLUE),
    "❄": ("snowflake", BLUE),
    "⚡": ("flash", YELLOW),
    "☕": ("coffee", "a0693a"),
    "🍺": ("glass-mug-variant", YELLOW),
    "🍕": ("pizza", YELLOW),
    "🎂": ("cake-variant", RED),
    "🎁": ("gift", RED),
    "🎵": ("music-note", BLUE),
    "📷": ("camera", GREY),
    "📎": ("paperclip", GREY),
    "📅": ("calendar", RED),
    "📍": ("map-marker", RED),
    "🔒": ("lock", YELLOW),
    "🔑": ("key-variant", YELLOW),
    "💡": ("lightbulb-on", YELLOW),
    "⏰": ("alarm", RED),
    "✅": ("check-circle", GREEN),
    "✔": ("check-bold", GREEN),
    "❌": ("close-thick", RED),
    "❓": ("help", RED),
    "❗": ("exclamation-thick", RED),
    "👋": ("hand-wave", YELLOW),
    "👏": ("hand-clap", YELLOW),
    "🙏": ("hands-pray", YELLOW),
    "💪": ("arm-flex", YELLOW),
    "👌": ("hand-okay", YELLOW),
    "👀": ("eye", GREY),
    "🚀": ("rocket-launch", BLUE),
    "🚲": ("bicycle", GREEN),
    "🚆": ("train", BLUE),
    "✈": ("airplane", BLUE),
    "🏔": ("image-filter-hdr", GREY),
    "🏠": ("home", GREEN),
    "🐱": ("cat", YELLOW),
    "🐶": ("dog", "a0693a"),
    "🌲": ("pine-tree", GREEN),
    "🌍": ("earth", BLUE),
}
_DRAWN = {emoji: (md_icons[icon], colour) for emoji, (icon, colour) in EMOJI.items() if icon in md_icons}


def escape(text: str) -> str:
    """The text with Kivy's escapes, so that nothing in it is markup."""
    return text.replace("&", "&amp;").replace("[", "&bl;").replace("]", "&br;")


@functools.cache
def _regular() -> Coverage:
    return read_coverage(REGULAR)


@functools.cache
def _fallbacks() -> tuple[tuple[str, Coverage], ...]:
    """(path, coverage) of the fonts of this system, read when the first character needs one."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for place, _, files in os.walk(Path(folder).expanduser()):
            for name in files:
                if name in NAMES and name not in found:
                    found[name] = Path(place) / name
    return tuple((str(found[name]), read_coverage(found[name])) for name in NAMES if name in found)


@functools.lru_cache(8192)
def font_of(char: str) -> str:
    """The font file that draws a character; "" for Roboto, also where nothing has it."""
    if char in _regular() or char.isspace():
        return ""
    return next((path for path, coverage in _fallbacks() if char in coverage), "")


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """(font, characters) in order; an emoji is a run of its own, with the font ICONS."""
    font, run = "", ""
    for char in text:
        if char in _INVISIBLE:
            continue
        one = ICONS if char in _DRAWN else font_of(char)
        if run and (one != font or one == ICONS):
            yield font, run
            run = ""
        font, run = one, run + char
    if run:
        yield font, run


@functools.lru_cache(2048)
def markup(text: str, coloured: bool = True) -> str:
    """The markup that shows a text as it is.  coloured: emoji in their colours."""
    if text.isascii():
        return escape(text)
    parts: list[str] = []
    for font, run in _runs(text):
        if font == ICONS:
            glyph, colour = _DRAWN[run]
            drawn = f"[font={ICONS}]{glyph}[/font]"
            parts.append(f"[color={colour}]{drawn}[/color]" if coloured else drawn)
        elif font:
            parts.append(f"[font={font}]{escape(run)}[/font]")
        else:
            parts.append(escape(run))
    return "".join(parts)


def icon(name: str) -> str:
    """The markup of an icon of KivyMD."""
    return f"[font={ICONS}]{md_icons.get(name, '')}[/font]"


def field_font(text: str) -> str:
    """The font for an input field, which can have only one: that of the first character that Roboto lacks."""
    for char in text[-400:]:
        if char not in _INVISIBLE and (font := font_of(char)):
            return font
    return "Roboto"
