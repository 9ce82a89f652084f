"""Each law finds what breaks it, in small trees made for that, and leaves alone what only looks so."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.arch.laws import citations, commits, docstrings, documents, imports, names, private, sizes
from tests.arch.laws.checkout import Checkout
from tests.arch.structure import measure, render

Law = Callable[[Checkout], list[str]]
SENTENCE = '"""A sentence that says enough to a stranger."""\n'


def plant(root: Path, files: dict[str, str]) -> Checkout:
    """A tree of these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Checkout(root)


def check(root: Path, law: Law, files: dict[str, str], expected: list[str]) -> None:
    """A law finds as many breaches in a tree as are expected, in order, each with the words that it should say."""
    found = law(plant(root, files))
    assert len(found) == len(expected), found
    for breach, words in zip(found, expected, strict=True):
        assert words in breach


def lines(count: int) -> str:
    return "x = 1\n" * count


def test_what_is_long_is_found(tmp_path: Path) -> None:
    long = "def long():\n" + "    x = 1\n" * 60
    short = "def short():\n" + "    x = 1\n" * 59
    constructor = "class A:\n    def __init__(self, a, b, c, /, d, *, e, f{}): ...\n"
    files = {
        "benchmarks/b.py": lines(401),
        "docs/free.py": lines(500),
        "src/renga/a.py": lines(400),
        "src/renga/f.py": long + short,
        "tests/c.py": constructor.format(", g"),
        "training/d.py": constructor.format(""),
    }
    expected = ["benchmarks/b.py has 401 lines", "src/renga/f.py:1: long has 61 lines", "takes 7 arguments"]
    check(tmp_path, sizes.find_all_long, files, expected)


def test_a_long_script_is_found(tmp_path: Path) -> None:
    files = {"scripts/a": lines(15), "scripts/b": lines(16)}
    check(tmp_path, sizes.find_long_scripts, files, ["scripts/b has 16 lines"])


def test_a_full_room_is_found_and_what_does_not_count_is_not_counted(tmp_path: Path) -> None:
    files = {
        **{f"src/renga/{name}.py": "" for name in "abcdefghijklmnopqrs"},  # 19, and store/ is the twentieth
        "src/renga/__init__.py": "",
        **{f"src/renga/store/migrations/versions/{number:04}.py": "" for number in range(30)},
        **{f"tests/http/test_{number}.py": "" for number in range(13)},
        "tests/http/data/one.json": "",
    }
    check(tmp_path, sizes.find_full_rooms, files, [])
    check(tmp_path, sizes.find_full_rooms, {"tests/http/a/b.py": ""}, ["tests/http/ has 15 entries, 14 at most"])
    expected = ["src/renga/ has 21 entries, 20 at most", "tests/http/"]
    check(tmp_path, sizes.find_full_rooms, {"src/renga/z.toml": ""}, expected)


LAYERED = names.Layered("keys", (".", "domain", "store/tables", "http|http/*"))
SIBLINGS = names.Siblings("decode", ("protocols",))


@pytest.mark.parametrize(
    ("paths", "breaches"),
    [
        pytest.param(["domain/keys", "store/tables/keys", "http/admin/keys"], 0, id="one a layer"),
        pytest.param(["domain/keys", "store/keys"], 1, id="a folder that is no layer"),
        pytest.param(["domain/keys", "http/keys", "http/admin/keys"], 1, id="twice in one layer"),
        pytest.param(["domain/files", "store/tables/files"], 1, id="a name that is in no rule"),
        pytest.param(["protocols/messages/decode", "protocols/openai/decode"], 0, id="one role in siblings"),
        pytest.param(["protocols/messages/decode", "protocols/decode"], 1, id="not beside its siblings"),
        pytest.param(["protocols/messages/decode", "protocols/a/b/decode"], 1, id="deeper than its siblings"),
        pytest.param(["a/__init__", "b/__init__", "a/__main__", "b/__main__"], 0, id="names that Python gives"),
    ],
)
def test_a_repeated_basename_needs_a_rule(tmp_path: Path, paths: list[str], breaches: int) -> None:
    checkout = plant(tmp_path, {f"src/renga/{path}.py": "" for path in paths})
    assert len(names.find_repeated_basenames(checkout, (LAYERED, SIBLINGS))) == breaches


def test_a_class_that_is_defined_twice_is_found(tmp_path: Path) -> None:
    files = {
        "src/renga/a.py": "class Call: ...\nclass _Body: ...\nclass Other: ...\n",
        "src/renga/testing/b.py": "def f():\n    class Call: ...\nclass _Body: ...\n",
        "tests/c.py": "class Other: ...\n",
    }
    check(tmp_path, names.find_repeated_classes, files, ["class Call is defined 2 times", "class _Body"])
    assert len(names.find_repeated_classes(Checkout(tmp_path), frozenset({"_Body", "Call"}))) == 1


@pytest.mark.parametrize(
    "way_back",
    [
        pytest.param("from renga.a.one import X", id="at the top"),
        pytest.param("from ..a import one", id="relative"),
        pytest.param("from ..a.one import X", id="relative with a module"),
        pytest.param("import renga.a.one", id="by its whole name"),
        pytest.param("def f():\n    from renga.a import one", id="in a function"),
        pytest.param("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from renga.a.one import X", id="typing"),
    ],
)
def test_modules_that_import_each_other_are_found(tmp_path: Path, way_back: str) -> None:
    files = {
        "src/renga/__init__.py": "",
        "src/renga/a/__init__.py": "from renga.a.one import X",
        "src/renga/a/one.py": "from renga.b.two import Y",
        "src/renga/b/__init__.py": "",
        "src/renga/b/two.py": "import json",
    }
    check(tmp_path, imports.find_module_cycles, files, [])
    check(tmp_path, imports.find_package_cycles, files, [])
    expected = ["renga.a.one > renga.b.two > renga.a.one (src/renga/a/one.py:1, src/renga/b/two.py:"]
    files = {"src/renga/b/two.py": way_back}
    check(tmp_path, imports.find_module_cycles, files, expected)
    check(tmp_path, imports.find_package_cycles, files, ["the children of renga: a > b > a"])


def test_packages_that_import_each_other_are_found_where_modules_do_not(tmp_path: Path) -> None:
    files = {
        "src/renga/__init__.py": "",
        "src/renga/p/__init__.py": "",
        "src/renga/p/a/one.py": "import renga.p.b.two",
        "src/renga/p/a/other.py": "",
        "src/renga/p/b/two.py": "",
        "src/renga/p/b/more.py": "from renga.p.a import other",
    }
    check(tmp_path, imports.find_module_cycles, files, [])
    check(tmp_path, imports.find_package_cycles, files, ["the children of renga.p: a > b > a"])


def test_imports_upward_are_counted_by_the_layers_of_the_project(tmp_path: Path) -> None:
    contract = (
        '[[tool.importlinter.contracts]]\ntype = "layers"\ncontainers = ["renga"]\nlayers = ["http", "(a) | b"]\n'
    )
    files = {
        "pyproject.toml": contract,
        "src/renga/http.py": "import renga.a",
        "src/renga/a.py": "import renga.b\nimport renga.free",
        "src/renga/b.py": "import renga.http",
        "src/renga/free.py": "import renga.http",
    }
    expected = ["renga.a imports renga.b", "renga.b imports renga.http"]
    check(tmp_path, imports.find_upward, files, expected)


def git(root: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_subjects_are_judged_from_the_base_on(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for subject in ("What was before", "engine: a subject", "http, wire: of two areas", "No area", "docs: " + "x" * 67):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", subject)
    subjects = commits.read_subjects(tmp_path, git(tmp_path, "rev-parse", "HEAD~4"))
    assert len(subjects) == 4
    found = commits.find_bad_subjects(subjects)
    assert len(found) == 2
    assert "a subject of 73 characters" in found[0]
    assert 'without an area: begin it as in "engine: ..."' in found[1]


def test_missing_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(commits.HistoryMissing, match="no git checkout"):
        commits.read_subjects(tmp_path, "0" * 40)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "a: b")
    with pytest.raises(commits.HistoryMissing, match="does not go back to 0000000"):
        commits.read_subjects(tmp_path, "0" * 40)


def test_absent_files_are_found_wherever_they_are_cited(tmp_path: Path) -> None:
    lost, data = "lost.py", "data.py"  # so that this file cites neither
    files = {
        "README.md": "See `wire/gone.py`, `gone.py`, docs/gone.md, `wire/old/`; not `wire/`, `fold.py`, `a/x.toml`.\n"
        "```\ncat wire/in_a_block.py\n```\nSave this as `mine.py`. https://example.com/wire/far.py\n",
        "docs/log.md": "`wire/was.py` is history.\n",
        "docs/guides/here.md": "`guides/here.md`",
        "scripts/check": "#!/bin/sh\n# runs tests/gone.py\nexec tests/code.py\n",
        "src/renga/wire/fold.py": '"""As tests/lost.py does; `wire/fold.py`."""\n'
        f'X = 1  # and `route/{lost}` too\nY = "wire/{data}"\n',
    }
    expected = [
        "src/renga/wire/fold.py:1: tests/lost.py is not there",
        "src/renga/wire/fold.py:2: route/lost.py",
        "README.md:1: wire/gone.py",
        "README.md:1: docs/gone.md",
        "README.md:1: wire/old/",
        "README.md:1: gone.py",
        "scripts/check:2: tests/gone.py",
    ]
    check(tmp_path, citations.find_absent_files, files, expected)


def test_absent_modules_are_found(tmp_path: Path) -> None:
    files = {
        "README.md": "`renga.toml`, `renga.done` of an answer, `renga.wire.fold.Folder`, `renga.meter.keys`.\n",
        "src/renga/__init__.py": "",
        "src/renga/wire/__init__.py": "from renga.wire.fold import Folder",
        "src/renga/wire/fold.py": "# renga.wire.Folder, renga.wire.fold, renga.wire.Gone, renga.gone\n"
        "class Folder: ...\n",
    }
    expected = ["fold.py:1: renga.wire.Gone is not there", "fold.py:1: renga.gone", "README.md:1: renga.meter.keys"]
    check(tmp_path, citations.find_absent_modules, files, expected)


def test_absent_headings_and_decisions_are_found(tmp_path: Path) -> None:
    files = {
        "docs/reference/api.md": "# Wire\n## `max_tokens` and more\n```\n# No heading\n```\n",
        "docs/decisions/0001-a.md": "",
        "src/renga/a.py": '"""A.\n\nSource: docs/reference/api.md,\n"Wire" and "Gone"; docs/reference/api.md, '
        '"max_tokens and more".\n"""\n'
        '# Decision 0001, decision\n# 0002; docs/reference/api.md, "No heading"\n',
    }
    expected = ['the heading "Gone" of docs/reference/api.md', 'the heading "No heading"', "decision 0002"]
    check(tmp_path, citations.find_absent_headings, files, expected)


def test_documents_that_no_clone_holds_are_found(tmp_path: Path) -> None:
    beside, setting = "../" + "shared", "RENGA_" + "SHARED"
    notes, design = "messages-api" + " notes", "DES" + "IGN"
    files = {
        "src/renga/a.py": f"# Source: {notes}, section 1\n# DESIGNED\n# {notes.replace(' ', chr(10) + '# ')}\n",
        "src/renga/b.py": f'X = environ.get("{setting}", "{beside}")\nY = "{beside}/data"\n# {design} says\n',
        "docs/log/a.md": f"{design} said\n",
    }
    expected = ["src/renga/a.py:1: no clone holds", "a.py:3: no clone", "b.py:2: what lies beside", "b.py:3: no clone"]
    check(tmp_path, citations.find_absent_documents, files, expected)


def test_dead_links_are_found(tmp_path: Path) -> None:
    files = {
        "README.md": "[a](docs/guides/a.md) [b](docs/guides/b.md) [far](https://x.org/y) ![p](p.png) `[c](c.md)`\n"
        "[1](docs/guides/a.md#the-second--part) [2](docs/guides/a.md#gone) [3](docs) [4](#here)\n\n"
        "[ref]: gone.md\n# Here\n",
        "docs/guides/a.md": "# A\n## The second & part\n[up](../../README.md)\n",
    }
    expected = [
        "README.md:1: the link to docs/guides/b.md",
        "README.md:1: the link to p.png",
        "a.md#gone has no such",
        "gone.md",
    ]
    check(tmp_path, documents.find_dead_links, files, expected)


def test_documents_in_no_index_are_found(tmp_path: Path) -> None:
    files = {
        "README.md": "[a](docs/guides/a.md) [decisions](docs/decisions/README.md)",
        "docs/decisions/README.md": "[first](0001-first.md)",
        "docs/decisions/0001-first.md": "[second](0002-second.md)",
        "docs/decisions/0002-second.md": "",
        "docs/guides/a.md": "",
        "docs/guides/b.md": "",
        "docs/log/c.md": "",
    }
    check(tmp_path, documents.find_unlisted, files, ["docs/decisions/0002-second.md is in no", "docs/guides/b.md"])


def test_short_docstrings_are_found(tmp_path: Path) -> None:
    files = {
        "src/renga/a.py": f'{SENTENCE}class A:\n    """Too short, it is."""\n    x: int\n    """A note."""\n'
        '    def _f(self):\n        """The same elsewhere."""\n',
        "tests/b.py": '"""Short."""\n',
    }
    check(tmp_path, docstrings.find_short, files, ["src/renga/a.py:2: A", "src/renga/a.py:6: A._f"])


def test_missing_docstrings_are_found(tmp_path: Path) -> None:
    files = {
        "src/renga/__init__.py": "",
        "src/renga/a.py": "def f(): ...\n\nclass A:\n    def method(self): ...\n    class B: ...\n\ndef _g(): ...\n"
        "if True:\n    async def h():\n        def inner(): ...\n",
        "tests/b.py": "def f(): ...\n",
    }
    expected = ["a.py:1: the module is public", "a.py:1: f", "a.py:3: A", "a.py:5: A.B", "a.py:9: h"]
    check(tmp_path, docstrings.find_missing, files, expected)


def test_addresses_of_registries_are_found(tmp_path: Path) -> None:
    files = {
        "a.txt": "see https://py" + "pi.org/project/x\n",
        "Dockerfile": "RUN pip install --index" + "-url http://10.0.0.1/a\n",
        "free.md": "a simple/plain thing, the index of pythons\n",
    }
    check(tmp_path, private.find_registries, files, ["Dockerfile:1", "a.txt:1"])


def test_paths_of_machines_are_found(tmp_path: Path) -> None:
    work, home = "/wo" + "rk/", "/ho" + "me/"
    files = {
        "a.md": f"free\nin {work}trees\n`{home}ann/x`\n",
        "b.md": f"https://x.org{work}a docs{home}a {work[:-1]}ing {{data}}{work}\n",
    }
    check(tmp_path, private.find_machine_paths, files, ["a.md:2", "a.md:3"])


def test_the_report_counts_a_tree_and_compares_two(tmp_path: Path) -> None:
    before = plant(
        tmp_path / "before",
        {
            "src/renga/a.py": "class A: ...\n",
            "src/renga/b/a.py": "class A:\n    'Short.'\n",
            "src/renga/__init__.py": "",
        },
    )
    after = plant(tmp_path / "after", {"src/renga/__init__.py": ""})
    table = render({"before": measure(before), "after": measure(after)})
    assert "| src/renga/: class names defined more than once | 1: `A` 2 | 0 |" in table
    assert "| src/renga/: basenames of modules that repeat | 1: a.py 2 | 0 |" in table
    assert "| src/renga/: Python files, lines | 3, 3 | 1, 0 |" in table
    assert "classes 1, modules 0 | 0: functions and methods 0" in table
