"""Put the drawings of docs/images into the HTML of a page, so that they follow its colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


class InlineSvg(SphinxPostTransform):
    """Replace SVG images from docs/images by the text of their files."""

    default_priority = 5  # before Sphinx collects images as files
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Replace the SVG images of one page."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir) / image["uri"]
            if path.suffix == ".svg" and "docs/images" in image["uri"]:
                drawing = f'<div class="drawing-frame">{path.read_text(encoding="utf-8")}</div>'
                image.replace_self(nodes.raw("", drawing, format="html"))


def setup(app: Any) -> dict[str, bool]:
    """Connect the transform to Sphinx."""
    app.add_post_transform(InlineSvg)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
