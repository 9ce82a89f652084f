"""The laws of the structure hold in this checkout. Each message says where, and what to do.

What the laws are, and why, stands in `tests/arch/laws`; that each can fail is shown in `tests/arch/test_laws_fail.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.arch.laws import citations, commits, docstrings, documents, imports, names, private, sizes
from tests.arch.laws.checkout import this_checkout

SHOWN_MAX = 40
"""How many breaches of one law a message shows; whoever mends those sees the next."""


def hold(breaches: list[str]) -> None:
    """Fail with what breaks a law, one line each."""
    if breaches:
        more = [f"... and {len(breaches) - SHOWN_MAX} more"] if len(breaches) > SHOWN_MAX else []
        pytest.fail("\n".join([f"{len(breaches)} breaches:", *breaches[:SHOWN_MAX], *more]), pytrace=False)


def test_files_functions_and_constructors_are_short() -> None:
    hold(sizes.find_all_long(this_checkout()))


def test_scripts_are_short() -> None:
    hold(sizes.find_long_scripts(this_checkout()))


def test_no_folder_holds_more_than_a_reader_takes_in() -> None:
    hold(sizes.find_full_rooms(this_checkout()))


def test_no_basename_stands_twice_unless_its_folders_make_it_plain() -> None:
    hold(names.find_repeated_basenames(this_checkout()))


def test_no_class_name_is_defined_twice() -> None:
    hold(names.find_repeated_classes(this_checkout()))


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    hold(imports.find_module_cycles(this_checkout()))


def test_the_parts_of_a_package_do_not_import_each_other_in_a_circle() -> None:
    hold(imports.find_package_cycles(this_checkout()))


def test_subjects_of_commits_name_their_area_and_are_short() -> None:
    try:
        subjects = commits.read_subjects(Path(this_checkout().root), commits.BASE)
    except commits.HistoryMissing as reason:
        pytest.skip(str(reason))
    hold(commits.find_bad_subjects(subjects))


def test_files_that_are_cited_are_there() -> None:
    hold(citations.find_absent_files(this_checkout()))


def test_modules_that_are_cited_are_there() -> None:
    hold(citations.find_absent_modules(this_checkout()))


def test_headings_and_decisions_that_are_cited_are_there() -> None:
    hold(citations.find_absent_headings(this_checkout()))


def test_no_document_is_cited_that_a_clone_does_not_hold() -> None:
    hold(citations.find_absent_documents(this_checkout()))


def test_links_in_documents_lead_somewhere() -> None:
    hold(documents.find_dead_links(this_checkout()))


def test_every_document_is_in_an_index() -> None:
    hold(documents.find_unlisted(this_checkout()))


def test_docstrings_are_sentences() -> None:
    hold(docstrings.find_short(this_checkout()))


def test_public_definitions_have_docstrings() -> None:
    hold(docstrings.find_missing(this_checkout()))


def test_no_address_of_a_package_registry_is_tracked() -> None:
    hold(private.find_registries(this_checkout()))


def test_no_path_of_a_machine_is_tracked() -> None:
    hold(private.find_machine_paths(this_checkout()))
