"""Run the official SDKs against a running Renga: the suite of one, a streamed tool loop with each.

    python tests/conformance/run.py [--fast]

The suite is `tests/api_resources` for messages, count_tokens, models, files, batches, keys and workspaces and their
beta twins, from the SDK's own source package. What fails must stand in expected_failures.txt with its reason, and what
stands there must fail.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from environments import FOLDER, LINES, SUITE, Environment, install_all

from renga.domain.keys import SCOPES, KeyChange, KeyTerms
from renga.testing.servers.served import Served, ServedSettings, served

SECRET = "my-anthropic-api-key"
"""Source: tests/conftest.py of the SDK."""
SUITE_LOG = FOLDER / "suite.log"
EXPECTED = Path(__file__).with_name("expected_failures.txt")
SUITE_LIMIT_S = 300
LOOP_LIMIT_S = 120
SUITE_PATHS = (
    "tests/api_resources/test_messages.py",
    "tests/api_resources/beta/test_messages.py",
    "tests/api_resources/test_models.py",
    "tests/api_resources/beta/test_models.py",
)
SEEDED_PATHS = (
    "tests/api_resources/test_files.py",
    "tests/api_resources/beta/test_files.py",
    "tests/api_resources/messages/test_batches.py",
    "tests/api_resources/beta/messages/test_batches.py",
)
"""Tests that ask for things by fixed ids, and delete them: `seeding.py` makes them anew, for one test after another."""
ADMIN_PATHS = (
    "tests/api_resources/test_organization.py",
    "tests/api_resources/beta/test_organization.py",
    "tests/api_resources/organization/test_api_keys.py",
    "tests/api_resources/beta/organization/test_api_keys.py",
    "tests/api_resources/organization/test_workspaces.py",
    "tests/api_resources/beta/organization/test_workspaces.py",
)
"""Tests of what is on the administrators' port. They want rows by fixed ids too."""


@dataclass(frozen=True)
class Verdict:
    """What the suite showed, by test function (all its parametrisations together)."""

    passed: int
    skipped: int
    expected: int
    unexpected: tuple[str, ...]
    """Failed, and not on the list."""
    recovered: tuple[str, ...]
    """On the list, and passed."""

    @property
    def good(self) -> bool:
        return self.passed > 0 and not self.unexpected and not self.recovered


def read_expected(path: Path) -> dict[str, str]:
    """Test ids without their parametrisation, with the reason each fails.

    Raises: ValueError for a line without a reason.
    """
    reasons: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, reason = line.partition("  # ")
        if not reason:
            raise ValueError(f"{path.name}: no reason in {line!r}")
        reasons[name.strip()] = reason
    return reasons


def judge(reports: Sequence[Path], expected: Mapping[str, str]) -> Verdict:
    """Compare pytest's JUnit reports with the list."""
    passed = skipped = failed_as_expected = 0
    unexpected: list[str] = []
    recovered: list[str] = []
    for case in chain.from_iterable(ElementTree.parse(report).iter("testcase") for report in reports):
        module, _, group = case.get("classname", "").rpartition(".")
        test = f"{module.replace('.', '/')}.py::{group}::{case.get('name', '')}"
        failed = case.find("failure") is not None or case.find("error") is not None
        listed = test.partition("[")[0] in expected
        if failed and listed:
            failed_as_expected += 1
        elif failed:
            unexpected.append(test)
        elif case.find("skipped") is not None:
            skipped += 1
        elif listed:
            recovered.append(test)
        else:
            passed += 1
    return Verdict(passed, skipped, failed_as_expected, tuple(unexpected), tuple(recovered))


def render_config(model: str) -> str:
    """Every tier is the local model: the SDK's tests ask for opus."""
    target = f"local/{Path(model).stem}"
    tiers = "".join(f'{tier} = ["{target}"]\n' for tier in ("haiku", "sonnet", "opus"))
    return f'[engine]\nmodel = "{model}"\n[admin]\nport = 0\n[tiers]\n{tiers}'


def open_admin(server: Served) -> str:
    """The administrators' port, for the key that every test sends."""
    with server.open_database() as database:
        (key,) = database.keys.read()
        database.keys.change(key.key_id, KeyChange(terms=KeyTerms(scopes=SCOPES)))
    # It is ready before it has said so, and sees a change of keys within a second.
    while (found := re.search(r"Administrators' port: (\S+)", server.log)) is None or call_admin(found[1]) == 403:
        time.sleep(0.05)
    return found[1]


def call_admin(url: str) -> int:
    """The status of one request there."""
    request = urllib.request.Request(f"{url}/v1/organizations/me", headers={"x-api-key": SECRET})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def clean_environment() -> dict[str, str]:
    """This process's variables without those that SDKs read."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "RENGA_"))}


def run_suite(server: Served) -> Verdict:
    """The SDK's tests, warnings as errors as its authors run them."""
    with tempfile.TemporaryDirectory() as folder:
        plain, seeded, admin = (Path(folder) / f"{name}.xml" for name in ("plain", "seeded", "admin"))
        said = run_tests(server, SUITE_PATHS, plain, ("-n", "2"))
        said += run_tests(server, SEEDED_PATHS, seeded, ("-n", "0", "-p", "seeding"))
        said += run_tests(server, ADMIN_PATHS, admin, ("-n", "0", "-p", "seeding"), url=open_admin(server))
        verdict = judge((plain, seeded, admin), read_expected(EXPECTED))
        if not verdict.good:
            SUITE_LOG.write_text(said)
            print(f"the suite's own output is in {SUITE_LOG}")
        return verdict


def run_tests(server: Served, paths: Sequence[str], report: Path, options: Sequence[str], url: str = "") -> str:
    """Some of the SDK's tests, on the clients' port or at `url`. Returns what they say.

    Raises: SystemExit if they did not run.
    """
    command = [SUITE.python, "-m", "pytest", *paths, *options, "-q", "--tb=short", "--show-capture=no"]
    variables = {
        **clean_environment(),
        "TEST_API_BASE_URL": url or server.url,
        "RENGA_SEED_DATABASE": str(server.folder / "renga.db"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(
        [*command, f"--junitxml={report}"],
        cwd=SUITE.suite,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SUITE_LIMIT_S,
    )
    if not report.exists():
        raise SystemExit(f"the suite did not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def run_loop(server: Served, environment: Environment) -> bool:
    """The tool loop with one SDK."""
    command = [environment.python, Path(__file__).with_name("tool_loop.py"), server.url]
    variables = {**clean_environment(), "ANTHROPIC_API_KEY": SECRET}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LOOP_LIMIT_S)
    said = done.stdout if done.returncode == 0 else done.stderr[-3000:]
    print(f"tool loop, {environment.name}: {said.strip()}", flush=True)
    return done.returncode == 0


def run_loops(server: Served) -> bool:
    """The tool loop with every SDK line, at once: most of it is Python starting."""
    with ThreadPoolExecutor(len(LINES)) as pool:
        return all([*pool.map(partial(run_loop, server), LINES)])


def main() -> int:
    parser = argparse.ArgumentParser(description="run the official SDKs against a running Renga")
    parser.add_argument("--fast", action="store_true", help="only the tool loops")
    parser.add_argument("--model", default="hokku", help="what the server runs: hokku, or a .gguf file")
    options = parser.parse_args()
    began = time.monotonic()
    install_all()
    print(f"environments ready after {time.monotonic() - began:.0f} s", flush=True)
    with served(ServedSettings(config=render_config(options.model), secret=SECRET)) as server:
        loops_good = run_loops(server)
        if options.fast:
            return 0 if loops_good else 1
        verdict = run_suite(server)
    for test, count in Counter(test.partition("[")[0] for test in verdict.unexpected).items():
        print(f"FAILED, and not expected to: {test} ({count} of its variants)")
    for test, count in Counter(test.partition("[")[0] for test in verdict.recovered).items():
        print(f"PASSED, take it off the list: {test} ({count} of its variants)")
    print(
        f"suite of {SUITE.name}: {verdict.passed} passed, {verdict.expected} failed as listed, "
        f"{verdict.skipped} skipped, {len(verdict.unexpected)} unexpected, {len(verdict.recovered)} recovered; "
        f"{time.monotonic() - began:.0f} s in all"
    )
    return 0 if verdict.good and loops_good else 1


if __name__ == "__main__":
    sys.exit(main())
