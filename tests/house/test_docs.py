"""Every Markdown file of the repository: its links lead somewhere, and the site holds every page."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from apps.cli import parser
from docs.site import build, markdown
from identity.errors import KithkinError
from tests.house.names import ROOT

ELSEWHERE = {".git", ".venv", "build", "dist", "node_modules"}


def markdown_files(folder: Path) -> Iterator[Path]:
    """Those of the repository, in order; not what was installed or built in it."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".md" and path.is_file():
            yield path
        elif path.is_dir() and path.name not in ELSEWHERE and not path.name.endswith("cache"):
            yield from markdown_files(path)


FILES = list(markdown_files(ROOT))
PAGES = [path.relative_to(ROOT).as_posix() for path in FILES]
NAVIGATION = re.compile(r"^\s+- .+: (\S+\.md)$", re.MULTILINE)


@cache
def anchors(path: Path) -> set[str]:
    return markdown.anchors(path.read_text("utf-8"))


def fault(page: Path, target: str) -> str | None:
    """What is wrong with one link; there is no network here, so of external ones only the form is judged."""
    parts = urlsplit(target)
    if parts.scheme in ("http", "https"):
        return None if re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", parts.netloc) else "no host"
    if parts.scheme:
        return "a scheme that is not https"
    if parts.path.startswith("/"):
        return "an absolute path"
    place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not place.is_relative_to(ROOT):
        return "outside the repository"
    if not place.exists():
        return "no such file"
    if place.is_dir():
        return None if (place / "README.md").exists() else "a folder without a README.md"
    if parts.fragment and place.suffix == ".md" and parts.fragment not in anchors(place):
        return "no such heading"
    return None


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    found = [(link, fault(page, link.target)) for link in markdown.links(page.read_text("utf-8"))]
    assert not [f"{name}:{link.line}: {link.target}: {what}" for link, what in found if what is not None]


def test_every_picture_of_a_page_has_words_for_those_who_do_not_see_it() -> None:
    bare = re.compile(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"]+\")[^>]*>")
    found = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in FILES
        for number, line in markdown.prose(page.read_text("utf-8"))
        if bare.search(markdown.CODE_SPAN.sub("", line))
    ]
    assert not found


def test_the_site_offers_every_page_and_no_other() -> None:
    offered = NAVIGATION.findall((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert len(offered) == len(set(offered))
    held = {place for source, place in build.pages().items() if source in PAGES}
    listed_in_an_index = {place for place in held if place.startswith(("decisions/0", "evidence/"))}
    assert set(offered) == held - listed_in_an_index


def test_every_command_shown_is_one_that_the_command_line_takes() -> None:
    shown = re.compile(r"^ *(?:\$ )?kithkin ([^#\n]+)", re.MULTILINE)
    tried = 0
    for page in FILES:
        for fence in markdown.fences(page.read_text("utf-8")):
            for words in shown.findall(fence.text) if fence.language in ("", "sh") else ():
                tried += 1
                try:
                    parser.parse(shlex.split(words))
                except SystemExit as end:  # --help and --version
                    assert end.code == 0, f"{page.name}: kithkin {words}"
                except KithkinError as error:
                    pytest.fail(f"{page.name}: kithkin {words}: {error.message}")
    assert tried > 40


def test_every_piece_of_python_that_a_page_shows_can_be_compiled() -> None:
    shown = [
        (page.name, fence)
        for page in FILES
        for fence in markdown.fences(page.read_text("utf-8"))
        if fence.language in ("python", "py")
    ]
    assert len(shown) > 5
    for name, fence in shown:
        compile(fence.text, f"{name}:{fence.first + 1}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    assert build.build(tmp_path) == 0
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    loaded = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href|srcset)=\"?([^\"\s>]+)")
    linked = re.compile(r"<a\b[^>]*?\bhref=\"?([^\"\s>]+)")
    for page in pages:
        text = page.read_text("utf-8")
        foreign = [target for target in loaded.findall(text) if re.match(r"(?:https?:)?//", target)]
        assert not foreign, f"{page.name} loads {foreign}"
        for target in {*loaded.findall(text), *linked.findall(text)} if page.name != "404.html" else ():
            if not re.match(r"(?:https?:)?//|data:|#", target):
                assert (page.parent / unquote(urlsplit(target).path)).exists(), f"{page.name}: {target}"


def test_every_path_that_the_map_for_contributors_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(
        re.findall(r"`((?:identity|netstack|crdt|sync|apps|docs|tests|examples|requirements)/[\w./*-]*)`", text)
    )
    assert len(named) > 40
    assert not [path for path in sorted(named) if not list(ROOT.glob(path))]


# ---- the reader of Markdown itself -----------------------------------------------------------------------------------


def test_links_are_found_in_prose_and_not_in_code() -> None:
    text = "\n".join(
        [
            "[one](a.md) and `[no](b.md)` and ![two](c.png)",
            '<img src="d.png" alt="three">',
            "```",
            "[no](e.md)",
            "```",
            "[![four](f.png)](g.md)",
            "[five]: h.md",
        ]
    )
    assert {(link.line, link.target) for link in markdown.links(text)} == {
        (1, "a.md"),
        (1, "c.png"),
        (2, "d.png"),
        (6, "f.png"),
        (6, "g.md"),
        (7, "h.md"),
    }


def test_anchors_are_named_as_github_names_them() -> None:
    text = '# One `two`, three!\n## Same\n## Same\n```\n# not a heading\n```\n<a id="own"></a>\n### [Link](x.md) & more'
    assert markdown.anchors(text) == {"one-two-three", "same", "same-1", "own", "link--more"}


def test_dead_links_are_named(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert fault(page, "docs/nowhere.md") == "no such file"
    assert fault(page, "#no-such-heading-at-all") == "no such heading"
    assert fault(page, "https:///path") == "no host"
    assert fault(page, "../outside.md") == "outside the repository"


def test_links_are_turned_to_where_a_page_stands_in_the_site() -> None:
    text = "[SECURITY.md](../SECURITY.md#scope), [code](../sync/service/api.py), [bot](../examples/meet.py), `[x](y)`"
    places = {"docs/page.md": "page.md", "SECURITY.md": "security.md", "examples/meet.py": "examples/meet.md"}
    turned = "[SECURITY.md](security.md#scope), code, [bot](examples/meet.md), `[x](y)`"
    assert build.in_the_site(text, "docs/page.md", places) == turned


def test_a_diagram_that_is_not_mermaid_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parse"):
        build.draw("```mermaid\nsequenceDiagram\n  A->>\n```", tmp_path / "page.md")
