"""The recipe's tests run where its packages and the public sets are; elsewhere they say what is missing."""

import importlib.util
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEEDED = ("torch", "openvino", "tokenizers", "numpy", "tqdm", "matplotlib")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(ROOT / "tests/training")]
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    reason = (
        f"the training extra is not installed ({', '.join(absent)}): `scripts/install dev training`" if absent else ""
    )
    if not reason:
        from renga.services.evals.datasets.locations import missing_reason

        reason = missing_reason("training", "xquad", "anthropic_cookbook")
    for item in here:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


sys.path.insert(0, str(ROOT))
