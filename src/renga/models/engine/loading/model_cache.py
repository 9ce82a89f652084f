"""The cache of models on disk: folders that are complete or absent.

Owns: making such a folder, also when two processes make it at once.
Must never know: what is in it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def create_cached_folder(folder: Path, make: Callable[[Path], None]) -> Path:
    """Give `folder`, made first if it is absent: `make` fills an empty folder beside it, which then takes its name.

    Raises: what `make` raises; nothing is left behind.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        make(made)
        made.chmod(0o755)  # a temporary folder is private, a cached one is not
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, and its work is as good
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder
