"""Generated pages are fresh, links resolve, and the README keeps its shape."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IMAGES = ROOT / "docs" / "images" / "tutorials"


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page):
    for title in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        yield re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip())


@pytest.mark.golden
def test_generated_pages_are_fresh():
    """Run ``python scripts/make_docs.py`` when this fails."""
    command = [sys.executable, str(ROOT / "scripts" / "make_docs.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in set(anchors(file)), target


def test_included_files_exist():
    for page in PAGES:
        for file in re.findall(r"<!-- include: (\S+) -->", page.read_text(encoding="utf-8")):
            assert (ROOT / file).is_file(), f"{page}: {file}"


def test_pages_name_no_machine_path():
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:work|tmp|root|home)/", page.read_text(encoding="utf-8")), page


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 900
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert all(len(line) < 140 for line in text.splitlines() if line not in "".join(commands))


def test_tutorial_pictures_are_small():
    assert all(file.stat().st_size <= 80_000 for file in IMAGES.glob("*.jpg"))
