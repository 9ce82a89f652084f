"""Where public data sets lie on this machine.

Owns:   the data folder of a clone, the folders that are looked in beside it, and the error for what is in none of them.
Knows:  nothing of how a set is obtained.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from renga.errors import ConfigError
from renga.services.evals.datasets.dataset_catalog import Dataset, missing_sentence, owner_of, select

VARIABLE = "RENGA_DATASETS"
SHARED_VARIABLE = "RENGA_SHARED"


class DataMissing(ConfigError):
    """A data set is needed that is not on this machine; the message names the command that obtains it."""


def clone_folder() -> Path | None:
    """The clone that this source belongs to; None where Renga is installed as a package."""
    here = Path(__file__).resolve()
    return next((folder for folder in here.parents if (folder / "scripts" / "data").is_file()), None)


def data_folder() -> Path:
    """Where sets are put: $RENGA_DATASETS, else `data/` of the clone, else the user's data folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    clone = clone_folder()
    return clone / "data" if clone is not None else platformdirs.user_data_path("renga") / "datasets"


def shared_folder() -> Path | None:
    """A folder of other people's making that has sets already: $RENGA_SHARED, else `../shared` beside the clone."""
    if given := os.environ.get(SHARED_VARIABLE):
        return Path(given)
    clone = clone_folder()
    return clone.parent / "shared" if clone is not None else None


def find_path(path: str) -> Path | None:
    """A file or folder of a set, by its path in the data folder; None where it is not on this machine."""
    shared = shared_folder()
    places = [data_folder(), *([shared / "data", shared] if shared is not None else [])]
    return next((place / path for place in places if (place / path).exists()), None)


def require_path(path: str) -> Path:
    """The same, where it is needed.

    Raises: DataMissing with the set that it belongs to and the command that obtains it.
    """
    found = find_path(path)
    if found is not None:
        return found
    owner = owner_of(path)
    if owner is None:
        raise DataMissing(f"{path} is not in {data_folder()}, and is in no data set that is known here")
    raise DataMissing(missing_sentence([owner.name]))


def is_here(dataset: Dataset) -> bool:
    """Whether every file of a set is on this machine. Looks at names; hashes are checked when a set is obtained."""
    return all(find_path(file.path) is not None for file in dataset.files if not file.for_recipes_only)


def missing_reason(*names: str) -> str:
    """Why something that needs these sets or groups cannot run, as one line; empty when all of them are here."""
    missing = [each.name for each in select(list(names)) if not is_here(each)]
    return missing_sentence(missing, names if len(names) < len(missing) else ()) if missing else ""


def require_sets(*names: str) -> None:
    """Do nothing if all of these sets are here.

    Raises: DataMissing with the command that obtains those that are not.
    """
    if reason := missing_reason(*names):
        raise DataMissing(reason)
