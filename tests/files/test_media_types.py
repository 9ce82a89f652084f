"""What a file is, and what it is called."""

import pytest

from renga.errors import InvalidRequest
from renga.files.media_types import clean_filename, find_mime_type, is_text


@pytest.mark.parametrize(
    ("head", "declared", "filename", "kind"),
    [
        (b"%PDF-1.4", "text/plain", "a.txt", "application/pdf"),
        (b"\xff\xd8\xff\xe0", "image/png", "a.png", "image/jpeg"),
        (b"GIF89a", None, None, "image/gif"),
        (b"RIFF\x00\x01\x02\x03WEBPVP8 ", None, None, "image/webp"),
        (b"RIFF\x00\x01\x02\x03WAVE", None, "a", "application/octet-stream"),
        (b"a,b", "text/csv", "a.txt", "text/csv"),
        (b"a,b", "Text/CSV ", None, "text/csv"),
        (b"a,b", "application/octet-stream", "a.csv", "text/csv"),
        (b"words", "nonsense", "a", "text/plain"),
        (b"words", "text/html; charset=x\r\nx: y", None, "text/plain"),
        ("Grüße".encode()[:3], None, None, "text/plain"),
        ("Grüße".encode("latin-1"), None, None, "application/octet-stream"),
        (b"\x00words", None, None, "application/octet-stream"),
        (b"", None, None, "text/plain"),
    ],
)
def test_marks_win_over_words_and_words_over_names(head, declared, filename, kind):
    assert find_mime_type(head, declared, filename) == kind


def test_text_is_what_reads_as_text():
    assert all(map(is_text, ("text/plain", "text/markdown", "application/json", "application/ld+json")))
    assert not any(map(is_text, ("application/pdf", "image/png", "application/octet-stream")))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.txt", "a.txt"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("../..", "unnamed.pdf"),
        ("", "unnamed.pdf"),
        (None, "unnamed.pdf"),
        ("Übersicht – 2026.pdf", "Übersicht – 2026.pdf"),
    ],
)
def test_only_the_last_part_of_a_name_is_kept(given, name):
    assert clean_filename(given, "application/pdf") == name


@pytest.mark.parametrize("given", ["a\x00b", "a\nb", "\udcff", "x" * 256])
def test_what_is_no_name_is_refused(given):
    with pytest.raises(InvalidRequest):
        clean_filename(given, "text/plain")
