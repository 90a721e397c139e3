"""The pictures of the zoo, drawn by Graphviz from the files of `examples/zoo`: `python -m docs.images.zoo_pictures`.

Each says in its first comment which file it was drawn from, so that a test sees when that has changed since.
"""

from __future__ import annotations

import re
from contextlib import chdir
from hashlib import sha256
from pathlib import Path

from confnet.graph import picture

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/images/zoo"
_MARK = "<!-- drawn from {} -->\n"


def files() -> list[Path]:
    """The files that have a picture."""
    return sorted((ROOT / "examples/zoo").glob("*.yaml"))


def mark(path: Path) -> str:
    """What the picture of a file has in it; comments and blank lines of the file do not matter."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return _MARK.format(sha256(text.encode()).hexdigest())


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with chdir(ROOT):
        for path in files():
            there = PICTURES / f"{path.stem}.svg"
            if there.exists() and mark(path) in there.read_text(encoding="utf-8"):
                continue
            drawn = picture(path.relative_to(ROOT)).written("svg")
            text = drawn if isinstance(drawn, str) else drawn.decode()
            there.write_text(re.sub(r"<svg\b", mark(path) + "<svg", text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
