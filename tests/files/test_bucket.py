"""A bucket of a real server that speaks S3 (moto, in a process of its own) keeps every promise of a keeper of bytes."""

import re
import subprocess
import urllib.request
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest

from renga.config import FileSettings
from renga.domain.files import FileQuery
from renga.errors import ApiError, ConfigError
from renga.files import open_file_service
from renga.files.object_store import open_bucket
from renga.testing.suites.file_suite import BlobSuite

from .conftest import ALICE, put

pytest.importorskip("obstore")
SERVER = Path(__file__).parents[2] / ".venv-conformance" / "s3-server" / "bin" / "moto_server"
KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}
NUMBERS = count()


@pytest.fixture(scope="module")
def endpoint():
    if not SERVER.exists():
        pytest.skip("scripts/conformance has not been run here")
    with subprocess.Popen(
        [SERVER, "-H", "127.0.0.1", "-p", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        line = next(found for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        yield line.group()
        process.kill()
        process.stderr.read()


@pytest.fixture
def settings(endpoint):
    name = f"bucket-{next(NUMBERS)}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return FileSettings(bucket=f"s3://{name}/renga/files", s3_endpoint=endpoint)


class TestBucket(BlobSuite):
    @pytest.fixture
    def blobs(self, settings):
        return open_bucket(settings, KEYS)


def test_a_large_object_goes_in_parts(settings, tmp_path):
    content = bytes(range(256)) * 100_000  # 25.6 MB: two parts
    path = tmp_path / "large"
    path.write_bytes(content)
    blobs, name = open_bucket(settings, KEYS), sha256(content).digest()
    blobs.place(name, path)
    assert sha256(b"".join(blobs.read(name))).digest() == name


async def test_the_service_works_over_a_bucket(settings, tmp_path, clock, handle, monkeypatch):
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)
    files = open_file_service(settings, tmp_path / "files", clock, handle)
    first, second = await put(files, b"in a bucket"), await put(files, b"in a bucket")
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert files.read_whole(first) == b"in a bucket"
    await files.delete(ALICE, first.file_id)
    assert b"".join([chunk async for chunk in files.read(second)]) == b"in a bucket"
    await files.delete(ALICE, second.file_id)
    assert list(open_bucket(settings, KEYS).older_than(2**40)) == []


async def test_a_bucket_that_is_away_is_an_error_without_its_keys(tmp_path, clock, monkeypatch, caplog):
    settings = FileSettings(bucket="s3://nowhere", s3_endpoint="http://127.0.0.1:9")
    blobs = open_bucket(settings, KEYS, retries=0)
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with pytest.raises(OSError, match="the bucket failed") as raised:
        blobs.place(sha256(b"x").digest(), path)
    assert "test-secret" not in str(raised.value) and "test-key" not in str(raised.value)


async def test_nothing_is_kept_where_the_bucket_refuses(settings, tmp_path, clock, handle, monkeypatch):
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)
    elsewhere = FileSettings(bucket="s3://no-such-bucket", s3_endpoint=settings.s3_endpoint)
    files = open_file_service(elsewhere, tmp_path / "files", clock, handle)
    with pytest.raises(ApiError):
        await put(files, b"x")
    assert await files.list_page(FileQuery(ALICE, files.now_us())) == []


@pytest.mark.parametrize("bucket", ["my-bucket", "s3://", "https://my-bucket"])
def test_what_is_no_bucket_is_refused_at_the_start(bucket):
    with pytest.raises(ConfigError, match="not a bucket"):
        open_bucket(FileSettings(bucket=bucket), KEYS)


def test_half_a_pair_of_keys_is_refused_at_the_start():
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY is empty"):
        open_bucket(FileSettings(bucket="s3://b"), {"AWS_ACCESS_KEY_ID": "x"})
