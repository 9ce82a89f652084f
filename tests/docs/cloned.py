"""A clone of HEAD in an empty folder with nothing beside it, and a way to run it.

Borrowed: `.venv` of the clone takes its packages from the environment that the tests run in, and Renga from the clone;
that takes a second and shows all but the installation. Installed: `scripts/install dev` makes it, with a Python of
one's choice; that takes a minute or two and a package index, so `scripts/test-clone` does it and `scripts/test` not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
"""Versions of Python that a clone is installed with."""


def clone(folder: Path) -> Path:
    """Clone HEAD of this checkout to a folder that has nothing beside it."""
    target = folder / "renga"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def borrow(checkout: Path) -> None:
    """Give a clone an environment with the packages that are installed here, and its own source."""
    python = checkout / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    packages = checkout / ".venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # Lines of a path file are searched in order, and path files in folders that it names are not read: one Renga.
    (packages / "borrowed.pth").write_text(f"{checkout / 'src'}\n{sysconfig.get_path('purelib')}\n")
    program = checkout / ".venv" / "bin" / "renga"
    program.write_text(f"#!{python}\nimport sys\nfrom renga.cli import main\nsys.exit(main())\n")
    program.chmod(0o755)
    (checkout / ".venv" / ".installed-").touch()


def install(checkout: Path, python: str) -> None:
    """Install a clone as its README says, with the SDK that the examples use.

    Raises: CalledProcessError.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "PATH", "LANG", "HOME"))}
    environ = kept | {"PYTHON": python}
    subprocess.run([checkout / "scripts" / "install", "dev"], env=environ, check=True)


def find_python(version: str) -> str | None:
    """An interpreter of a version: the system's own where it is that one, else one on the path or of pyenv."""
    pyenv = Path("~/.pyenv/versions").expanduser()
    places = [Path("/usr/bin/python3"), *sorted(pyenv.glob(f"{version}.*/bin/python3"))]
    if (found := shutil.which(f"python{version}")) is not None:
        places.append(Path(found))
    for place in places:
        command = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if not place.exists():
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return str(place)
    return None
