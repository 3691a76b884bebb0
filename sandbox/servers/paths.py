"""File names that ignore case on a file system that does not."""

from pathlib import Path


def find_ignoring_case(root: Path, relative: str) -> Path:
    """The path below ``root`` that ``relative`` (parts divided by ``/``) means: each part exactly if it is there, else
    the first name that differs in case only, else as given. Parts ``..`` never lead out of ``root``."""
    found = root
    for part in relative.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            found = found.parent if found != root else root
            continue
        exact = found / part
        if not exact.exists() and found.is_dir():
            names = sorted(entry.name for entry in found.iterdir() if entry.name.casefold() == part.casefold())
            exact = found / names[0] if names else exact
        found = exact
    return found
