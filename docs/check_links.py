"""Check the built site: each link leads to a page, heading or file, and nothing needs a network.

`python docs/check_links.py docs/_build/html` prints one line per problem, and exits with 1 if there is
one.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Tags whose address a browser loads without a click, and the attribute with the address."""


class Page(HTMLParser):
    """The anchors and addresses of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the anchors and addresses of one tag."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values:
            self.loaded.append(values[LOADS[tag]])


def problems(folder: Path) -> list[str]:
    """Return the problems of the pages below a folder, one line each."""
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]  # not the theme's
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in files}
    found = []
    for path, page in sorted(pages.items()):
        name = path.relative_to(folder.resolve())
        found += [f"{name}: loads {a} from a network" for a in page.loaded if urlsplit(a).netloc]
        addresses = [
            a for a in page.links + page.loaded if not (urlsplit(a).scheme or urlsplit(a).netloc)
        ]
        found += [f"{name}: {a} leads nowhere" for a in addresses if not leads(a, path, pages)]
    return found


def leads(address: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Return whether an address on a page leads to an existing file and an anchor in it."""
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


def main() -> None:
    """Print the problems of the site."""
    found = problems(Path(sys.argv[1]))
    print(
        "\n".join(found) if found else "all links lead somewhere, and nothing is loaded from a network"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
