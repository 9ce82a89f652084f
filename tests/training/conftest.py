"""The recipe's tests run where its packages and the public sets are; elsewhere they say what is missing."""

import importlib.util
import pathlib
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from renga.services.evals.datasets.locations import DataMissing

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEEDED = ("torch", "openvino", "tokenizers", "numpy", "tqdm", "matplotlib")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(ROOT / "tests/training")]
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    reason = (
        f"the training extra is not installed ({', '.join(absent)}): `scripts/install dev training`" if absent else ""
    )
    for item in here:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with skipping(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with skipping(item):
        return (yield)


@contextmanager
def skipping(item: pytest.Item) -> Generator[None]:
    """A test of this folder that asks for a set which is not here is skipped, with the command that obtains it."""
    try:
        yield
    except DataMissing as missing:
        if not item.path.is_relative_to(ROOT / "tests/training"):
            raise
        pytest.skip(missing.sentence())


sys.path.insert(0, str(ROOT))
