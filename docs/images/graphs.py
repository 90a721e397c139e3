"""The pictures of docs/graph.md: pages of `confnet graph`, opened in headless Chromium, and one drawn by Graphviz.

python -m docs.images.graphs
"""

from __future__ import annotations

import tempfile
from contextlib import chdir
from pathlib import Path

from confnet.graph import picture
from tests.browser.devtools import Browser

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

_CHOOSE = "(() => { const box = model.boxes.find(box => box.fqn === '%s'); toggle(box); fit(); choose(box); fit(); })()"
_MORE = "document.getElementById('more').click()"

PAGES = {
    "graph-unet": ("zoo/unet", False, ""),
    "graph-resnet": ("zoo/resnet", False, ""),
    "graph-t5": ("zoo/t5", False, _MORE),
    "graph-mixtral": ("zoo/mixtral", True, _MORE),
    "graph-gpt2": ("gpt2", False, _CHOOSE % "transformer.h.0.attn"),
}
"""For each picture: the example, whether it is dark, and what is done in the page before."""


def main() -> None:
    with chdir(ROOT), tempfile.TemporaryDirectory() as folder, Browser(1400, 900) as browser:
        for name, (example, is_dark, action) in PAGES.items():
            drawn = picture(f"examples/{example}.yaml")  # pages show the path
            page = Path(folder) / f"{name}.html"
            page.write_text(str(drawn.written("html")), encoding="utf-8")
            browser.dark(is_dark)
            browser.open(page)
            browser.wait("document.querySelectorAll('.item').length > 0")
            if action:
                browser.js(action)
            (HERE / f"{name}.png").write_bytes(browser.screenshot())
            if name == "graph-gpt2":
                image = drawn.written("png", depth=2)
                assert isinstance(image, bytes)
                (HERE / "graph-gpt2-graphviz.png").write_bytes(image)


if __name__ == "__main__":
    main()
