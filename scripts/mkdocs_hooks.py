"""Hooks of the documentation build: files of the repository as pages, roles of docstrings as plain names."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # files of the repository that have a page of their own
    "common/slimecore/models/slime-tiny/README.md": "model-card.md",
    "slimevid/models/README.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace ``<!-- include: FILE -->`` by the file, with its links made relative to the page."""

    def included(match: re.Match[str]) -> str:
        text = (ROOT / match[1]).read_text(encoding="utf-8")
        if page.file.src_uri == "model-card.md":  # several cards on one page: one level deeper
            text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
        return re.sub(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)", lambda m: relinked(m, match[1], page.file.src_uri), text)

    return re.sub(r"<!-- include: (\S+) -->", included, markdown)


def relinked(match: re.Match[str], file: str, page: str) -> str:
    """Return a link of a file of the repository as it must stand on a page."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file), match[1]))
    target = f"docs/{PAGES[target]}" if target in PAGES else target
    if not target.startswith("docs/"):
        return f"](#)  (`{target}`)"
    return f"]({posixpath.relpath(target[5:], posixpath.dirname(page) or '.')}{match[2] or ''})"


def on_page_content(html: str, **_: Any) -> str:
    """Drop the roles of reStructuredText, such as ``:func:``, that docstrings hold."""
    html = re.sub(r":(?:func|class|mod|meth|data|attr|exc):<code>~?", "<code>", html)
    return re.sub(r":(?:func|class|mod|meth|data|attr|exc):`~?([^`<]+)`", r"<code>\1</code>", html)
