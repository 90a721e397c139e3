"""What the site has beyond the pages of this folder: the home page, a page for each error, and one for each example.

Pages link to files of the checkout, as they are read there: such a link leads to the page made of that file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security-policy.md"}
"""Files of the checkout that are pages, and where they stand on the site."""

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages made of files outside the folder."""
    for source, page in made_pages().items():
        files.append(File.generated(config, page, content=content(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to files of the checkout to their pages; a link to what has none becomes its text."""
    if page.parent is None:  # nothing stands beside it in the navigation
        page.meta.setdefault("hide", ["navigation"])
    return rewritten(markdown, page.file.src_uri)


def made_pages() -> dict[str, str]:
    """The pages made of files outside the folder: path in the checkout -> path on the site."""
    made = dict(PAGES)
    for path in sorted((ROOT / "confnet/explain").glob("*.md")):
        made[f"confnet/explain/{path.name}"] = f"errors/{path.name}"
    for folder in ("examples", "confnet/blocks"):
        for path in sorted((ROOT / folder).rglob("*.yaml")):
            name = path.relative_to(ROOT / folder).with_suffix(".md").as_posix()
            group = "examples" if folder == "examples" else "shipped"
            made[path.relative_to(ROOT).as_posix()] = f"{group}/{name}"
    return made


def content(source: str) -> str:
    """The Markdown of a page that is made of a file."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text
    name = PurePosixPath(source)
    drawn = ROOT / "docs/images/zoo" / f"{name.stem}.svg"
    shown = f"![the wiring of {name.stem}](../../images/zoo/{name.stem}.svg)\n\n" if name.parent.name == "zoo" else ""
    return f"# {name.name}\n\n`{source}`\n\n{shown if drawn.exists() else ''}````yaml\n{text.rstrip()}\n````\n"


def rewritten(markdown: str, page: str) -> str:
    """The Markdown of a page with its links as the site needs them; blocks of code are left alone."""
    made = made_pages()
    origin = next((source for source, uri in made.items() if uri == page), f"docs/{page}")

    def link(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        path, hash_, anchor = target.partition("#")
        anchor = anchor.lstrip("-")  # what GitHub makes of a sign at the beginning of a heading
        if not path or re.match(r"[a-z]+:", target):
            return f"[{text}]({path}{hash_}{anchor})"
        there = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if there in made:
            uri = made[there]
        elif there.startswith("docs/") and (ROOT / there).is_file():
            uri = there.removeprefix("docs/")
        elif (ROOT / there).exists():
            return text
        else:
            return match[0]  # nothing there: mkdocs says so
        return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page) or '.')}{hash_}{anchor})"

    parts = re.split(r"(^(`{3,})[^\n]*\n.*?^\2[ \t]*$)", markdown, flags=re.MULTILINE | re.DOTALL)
    del parts[2::3]  # the fences, which the blocks have as well
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))
