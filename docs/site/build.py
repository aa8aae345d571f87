"""Builds the site: `python docs/site/build.py [FOLDER]` (`make docs`), into FOLDER/site, `build` if none is named.

The pages are written so that they read well in the repository.  A copy of them becomes the site: links between
them are turned to where each page stands in the site, diagrams are drawn, and links to source files lose their target
(the examples have pages of their own).  Warnings are errors.  Nothing is fetched, now or when the site is read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import mmdr

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs.site import markdown  # noqa: E402

NOT_COPIED = {"site/build.py", "site/markdown.py"}
FROM_THE_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages outside docs/, and the names they have in the site."""


def pages() -> dict[str, str]:
    """Where each file of the repository stands in the site, both as paths from their roots."""
    places = dict(FROM_THE_ROOT)
    for path in sorted((ROOT / "docs").rglob("*")):
        name = path.relative_to(ROOT / "docs").as_posix()
        if path.is_file() and name not in NOT_COPIED and "__pycache__" not in name:
            places[f"docs/{name}"] = name.replace("README.md", "index.md")
    for path in sorted((ROOT / "examples").glob("*.py")):
        places[f"examples/{path.name}"] = f"examples/{path.stem}.md"
    return places


def in_the_site(text: str, source: str, places: dict[str, str]) -> str:
    """The text of the page `source` with its links as the site needs them."""
    here = PurePosixPath(places[source]).parent

    def new(target: str) -> str | None:
        name, mark, anchor = target.partition("#")
        if not name or "://" in target:
            return target
        wanted = os.path.normpath(PurePosixPath(source).parent / name)
        if (ROOT / wanted).is_dir():
            wanted += "/README.md"
        if wanted not in places:
            return None  # a source file, which the site does not hold
        return os.path.relpath(places[wanted], here) + mark + anchor

    return markdown.replace_targets(text, new)


def draw(text: str, page: Path) -> str:
    """Diagrams as pictures beside the page.  Raises ValueError for one that is not Mermaid."""
    lines = text.split("\n")
    diagrams = [fence for fence in markdown.fences(text) if fence.language == "mermaid"]
    for number, fence in reversed(list(enumerate(diagrams, 1))):
        name = f"{page.stem}-diagram-{number}.svg"
        (page.parent / name).write_text(mmdr.render(fence.text).svg(), "utf-8")
        kind = fence.text.split(None, 1)[0]
        indent = lines[fence.first][: len(lines[fence.first]) - len(lines[fence.first].lstrip())]
        lines[fence.first : fence.last + 1] = [
            f"{indent}![{kind}, diagram {number} of this page]({name}){{ .diagram }}"
        ]
    return "\n".join(lines)


def copy_pages(folder: Path) -> None:
    """Fills `folder` with what the site is built from."""
    places = pages()
    for source, place in places.items():
        original, copy = ROOT / source, folder / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.suffix == ".md":
            copy.write_text(draw(in_the_site(original.read_text("utf-8"), source, places), copy), "utf-8")
        elif original.suffix == ".py":
            copy.write_text(f"# {source}\n\n```python\n{original.read_text('utf-8')}```\n", "utf-8")
        else:
            shutil.copyfile(original, copy)


def build(folder: Path) -> int:
    """The exit status of the builder; `folder`/site holds the site if that is 0."""
    for name in ("docs", "site", ".cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    copy_pages(folder / "docs")
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    for written, meant in (
        ("docs_dir: build/docs", "docs_dir: docs"),
        ("site_dir: build/site", "site_dir: site"),
        ("paths: [.]", f"paths: ['{ROOT}']"),
    ):
        assert written in settings, written
        settings = settings.replace(written, meant)
    (folder / "mkdocs.yml").write_text(settings, "utf-8")
    builder = shutil.which("zensical", path=str(Path(sys.executable).parent)) or "zensical"
    return subprocess.run(
        [builder, "build", "--strict", "--config-file", "mkdocs.yml"], cwd=folder, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()))
