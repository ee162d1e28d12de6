"""Every file that the documentation, a docstring or a comment names is there, and so is every link's target."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("schemas", "models", "actors", "cluster", "tests", "docs", "examples")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts)
# not CHANGELOG.md, which is history
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]*")  # not the end of an address
_FILE = re.compile(r"`([\w*-]+\.(?:py|md|avsc|sh|js|html|lock|toml))(?:`|::)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def named(text: str) -> set[str]:
    """Return the paths from the root that a text names; a path may be a pattern."""
    return {name.rstrip("./") for name in _PATH.findall(text)}


def anchor(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def somewhere(name: str) -> bool:
    """Tell whether there is a file of this name at the root or in a folder of ours."""
    return any(ROOT.glob(name)) or any(any((ROOT / folder).rglob(name)) for folder in FOLDERS)


def test_paths_that_modules_and_pages_name_are_there() -> None:
    found = [(path, name) for path in (*MODULES, *PAGES) for name in named(path.read_text())]
    assert len(found) > 200
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in found if not any(ROOT.glob(name))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_and_what_it_links_to_are_there(page: Path) -> None:
    text = page.read_text()
    assert [name for name in _FILE.findall(text) if not somewhere(name)] == []
    for target in _LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, where = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not where or where in map(anchor, _HEADING.findall(linked.read_text())), target


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("see actors/kafka/letters.py).", {"actors/kafka/letters.py"}),
        ("`tests/actors/test_view*.py`, tests/naive/: …", {"tests/actors/test_view*.py", "tests/naive"}),
        ("http://registry/schemas/ids/7 and src/models/x.py", set()),
    ],
)
def test_what_counts_as_a_path(text: str, names: set[str]) -> None:
    assert named(text) == names
