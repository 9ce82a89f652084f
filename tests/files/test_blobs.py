"""The folder of bytes keeps every promise of its kind, and some of its own."""

import os
from hashlib import sha256

import pytest

from renga.files.blobs import DiskBlobs
from renga.testing.suites.file_suite import BlobSuite


class TestDisk(BlobSuite):
    @pytest.fixture
    def blobs(self, tmp_path):
        return DiskBlobs(tmp_path / "kept")


def test_the_name_of_a_blob_outlives_a_power_cut(tmp_path, monkeypatch):
    """Its bytes are synced before (the intake does it); the name appears at once, and its folders are synced after."""
    steps = []
    blobs, incoming = DiskBlobs(tmp_path / "kept"), tmp_path / "incoming"
    incoming.write_bytes(b"x")
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(os, "link", lambda *names: (steps.append("link"), link(*names))[1])
    blobs.place(sha256(b"x").digest(), incoming)
    assert steps == ["link", "sync", "sync"]


def test_other_files_in_the_folder_are_passed_over(tmp_path):
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "no hash").touch()
    assert list(DiskBlobs(tmp_path).older_than(2**40)) == []
