"""The Files resource over a live socket, by hand and with the official SDK."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types.file_expired_error import FileExpiredError
from anthropic.types.file_not_downloadable_error import FileNotDownloadableError
from anthropic.types.storage_quota_exceeded_error import StorageQuotaExceededError
from tests.http.conftest import KEY, SECRET, serving

from renga.config import FileSettings, ServerSettings
from renga.domain.owners import Owner
from renga.files import open_file_service
from renga.http.exchange.request_watchdog import GRACE_PERIOD_S
from renga.store.database import open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.fake_clock import SleepingClock

TEAM = {"x-api-key": "sk-renga-team"}


@pytest.fixture
def clock():
    return SleepingClock()


@pytest.fixture
def settings():
    return FileSettings(max_file_bytes=200_000, quota_bytes=500_000, quota_files=8, max_uploads=2)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A database to copy: making one takes as long as a dozen of these tests."""
    path = tmp_path_factory.mktemp("migrated") / "renga.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
async def files(tmp_path, clock, settings, migrated):
    handle = DatabaseHandle()
    with open_database(f"sqlite:///{shutil.copy(migrated, tmp_path)}") as database:
        handle.open(database)
        yield open_file_service(settings, tmp_path / "files", clock, handle)


@pytest.fixture
async def served(files):
    async with serving(ServerSettings(body_timeout_s=0.3), files) as running:
        yield running


@pytest.fixture
async def client(served):
    async with AsyncAnthropic(base_url=f"http://127.0.0.1:{served.port}", api_key=SECRET, max_retries=0) as sdk:
        yield sdk


def blobs(tmp_path):
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def form(content, *, name="file", filename="a.txt", kind="text/plain", more=""):
    head = (
        f'--XX\r\ncontent-disposition: form-data; name="{name}"; filename="{filename}"\r\ncontent-type: {kind}\r\n\r\n'
    )
    return more.encode() + head.encode() + content + b"\r\n--XX--\r\n"


def field(name, value):
    return f'--XX\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


async def post(served, body, headers=KEY):
    return await served.ask("POST", "/v1/files", body, {**headers, "content-type": "multipart/form-data; boundary=XX"})


async def test_the_sdk_uploads_lists_reads_and_deletes(client, tmp_path):
    sent = await client.files.upload(file=("Bericht.pdf", b"%PDF-1.7 x", "application/pdf"), expires_in_seconds=3600)
    assert (sent.filename, sent.mime_type, sent.size_bytes, sent.type) == ("Bericht.pdf", "application/pdf", 10, "file")
    assert sent.downloadable is False
    assert sent.created_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert sent.expires_at == sent.created_at + timedelta(hours=1)
    assert await client.files.retrieve_metadata(sent.id) == sent
    assert [file.id async for file in client.files.list()] == [sent.id]
    with pytest.raises(FileNotDownloadableError):
        await client.files.download(sent.id)
    gone = await client.files.delete(sent.id)
    assert (gone.id, gone.type) == (sent.id, "file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        await client.files.delete(sent.id)
    assert blobs(tmp_path) == []


async def test_pages_of_the_sdk_reach_every_file(client, clock):
    ids = []
    for number in range(5):
        clock.advance(1)
        ids.append((await client.files.upload(file=(f"{number}.txt", b"x"))).id)
    assert [file.id async for file in client.files.list(limit=2)] == ids[::-1]
    page = await client.files.list(ids=[ids[1], ids[3], "file_other"])
    assert [file.id for file in page.data] == [ids[3], ids[1]]
    assert page.next_page is None


async def test_older_clients_page_by_ids(served, client, clock):
    ids = []
    for number in range(5):
        clock.advance(1)
        ids.append((await client.files.upload(file=(f"{number}.txt", b"x"))).id)
    first = (await served.ask("GET", "/v1/files?limit=2", b"", KEY)).json()
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[4], ids[3], True)
    second = (await served.ask("GET", f"/v1/files?limit=2&after_id={ids[3]}", b"", KEY)).json()
    assert [file["id"] for file in second["data"]] == [ids[2], ids[1]]
    before = (await served.ask("GET", f"/v1/files?limit=3&before_id={ids[1]}", b"", KEY)).json()
    assert [file["id"] for file in before["data"]] == [ids[4], ids[3], ids[2]]
    assert (before["has_more"], before["next_page"]) == (False, None)
    nearest = (await served.ask("GET", f"/v1/files?limit=2&before_id={ids[1]}", b"", KEY)).json()
    assert [file["id"] for file in nearest["data"]] == [ids[3], ids[2]]
    assert nearest["has_more"] is True


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("page=page", "page"),
        ("page=page_AAAA", "page"),
        ("after_id=file_1", "after_id"),
        ("after_id=file_1&before_id=file_2", "before_id"),
        ("ids[]=a&limit=1", "ids"),
        ("&".join(f"ids[]={number}" for number in range(101)), "ids"),
    ],
)
async def test_a_wrong_query_is_refused_by_name(served, query, path):
    response = await served.ask("GET", f"/v1/files?{query}", b"", KEY)
    assert response.status == 400
    assert response.json()["error"]["message"].startswith(f"{path}: ")


async def test_equal_bytes_are_kept_once_and_go_with_the_last_file(served, tmp_path):
    first, second = [(await post(served, form(b"the same"), who)).json()["id"] for who in (KEY, TEAM)]
    assert first != second
    assert len(blobs(tmp_path)) == 1
    assert (await served.ask("DELETE", f"/v1/files/{first}", b"", KEY)).status == 200
    assert len(blobs(tmp_path)) == 1
    assert (await served.ask("DELETE", f"/v1/files/{second}", b"", TEAM)).status == 200
    assert blobs(tmp_path) == []


async def test_others_files_are_not_there(served):
    file_id = (await post(served, form(b"secret"))).json()["id"]
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        response = await served.ask(method, f"/v1/files/{file_id}{path}", b"", TEAM)
        unknown = await served.ask(method, f"/v1/files/file_unknown{path}", b"", TEAM)
        assert response.status == unknown.status == 404
        told = response.json()["error"]["message"].replace(file_id, "file_unknown")
        assert told == unknown.json()["error"]["message"]
    assert (await served.ask("GET", "/v1/files", b"", TEAM)).json()["data"] == []
    assert (await served.ask("GET", f"/v1/files?ids[]={file_id}", b"", TEAM)).json()["data"] == []
    assert (await served.ask("GET", f"/v1/files?after_id={file_id}", b"", TEAM)).status == 400


async def test_ids_of_other_shapes_are_just_unknown(served):
    for strange in ("%00", "a%2Fb", "x" * 200, "%F0%9F%98%80"):
        assert (await served.ask("GET", f"/v1/files/{strange}", b"", KEY)).status == 404


async def test_a_key_of_another_scope_may_not(served):
    assert (await served.ask("GET", "/v1/files", b"", {"x-api-key": "sk-renga-usage"})).status == 403


async def test_another_workspace_than_the_keys_is_refused(served):
    named = {"anthropic-workspace-id": "wrkspc_2"}
    assert (await served.ask("GET", "/v1/files", b"", {**TEAM, **named})).status == 403
    assert (await served.ask("GET", "/v1/files", b"", {**TEAM, "anthropic-workspace-id": "wrkspc_1"})).status == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "The form cannot be read"),
        (b"--XX--\r\n", "file: Field required"),
        (form(b"x")[:-9], "The form cannot be read"),
        (form(b""), "file: The file is empty"),
        (form(b"x", name="purpose"), "purpose: Extra inputs"),
        (form(b"x", more=form(b"y").decode()[:-8]), "file: Given twice"),
        (form(b"x", more=field("expires_in_seconds", "3599")), "expires_in_seconds: Must be a number from 3600"),
        (form(b"x", more=field("expires_in_seconds", "7776001")), "expires_in_seconds: Must be"),
        (form(b"x", more=field("expires_in_seconds", "soon")), "expires_in_seconds: Must be"),
        (form(b"x", filename="x" * 256), "file.filename: A name has at most 255"),
    ],
)
async def test_a_wrong_form_is_refused_and_leaves_nothing(served, tmp_path, body, says):
    response = await post(served, body)
    assert response.status == 400
    assert response.json()["error"]["message"].startswith(says)
    assert blobs(tmp_path) == []


async def test_json_is_no_form(served):
    response = await served.ask("POST", "/v1/files", b"{}", {**KEY, "content-type": "application/json"})
    assert response.status == 400
    assert "multipart/form-data" in response.json()["error"]["message"]


async def test_a_file_too_large_is_refused_before_and_while_it_comes(served, tmp_path):
    declared = await post(served, form(b"x" * 300_000))
    assert declared.status == 413
    assert declared.json()["error"]["type"] == "request_too_large"
    assert (await post(served, form(b"x" * 200_000))).status == 200
    just_too_large = await post(served, form(b"x" * 200_001))
    assert just_too_large.status == 413
    async with await served.connect() as connection:
        kind = {**KEY, "content-type": "multipart/form-data; boundary=XX", "transfer-encoding": "chunked"}
        await connection.send_head("POST", "/v1/files", kind)
        await connection.write(b"%x\r\n%b\r\n" % (len(form(b"")) - 8, form(b"")[:-8]))
        for _ in range(3):
            await connection.write(b"%x\r\n%b\r\n" % (100_000, b"y" * 100_000))
        assert (await connection.read()).status == 413
    assert len(blobs(tmp_path)) == 1


async def test_quotas_are_told_with_the_apis_code(client, files):
    for number in range(8):
        await client.files.upload(file=(f"{number}", b"%d" % number))
    with pytest.raises(StorageQuotaExceededError, match="8 files are kept, and 8 may be"):
        await client.files.upload(file=("9", b"9"))


async def test_bytes_count_however_often_they_are_named(served):
    for _ in range(2):
        assert (await post(served, form(b"x" * 200_000))).status == 200
    response = await post(served, form(b"x" * 200_000))
    assert response.json()["error"]["details"]["error_code"] == "storage_quota_exceeded"


async def test_an_upload_that_stalls_is_given_up_and_leaves_nothing(served, tmp_path):
    async with await served.connect() as connection:
        kind = {**KEY, "content-type": "multipart/form-data; boundary=XX", "content-length": "5000"}
        await connection.send_head("POST", "/v1/files", kind)
        await connection.write(form(b"x" * 100)[:-8])
        assert (await connection.read()).status == 408
    assert blobs(tmp_path) == []


async def test_a_client_that_leaves_half_way_leaves_nothing(served, tmp_path):
    connection = await served.connect()
    kind = {**KEY, "content-type": "multipart/form-data; boundary=XX", "content-length": "150000"}
    await connection.send_head("POST", "/v1/files", kind)
    await connection.write(form(b"x" * 1000)[:-8])
    async with asyncio.timeout(30):
        while not blobs(tmp_path):
            await asyncio.sleep(0.01)
        connection.abort()
        while blobs(tmp_path) or served.server.server_state.tasks:
            await asyncio.sleep(0.01)


async def test_uploads_beyond_the_limit_wait_outside(served):
    """Half of them at most for one owner: one that uploads slowly does not keep the others out."""
    async with await served.connect() as connection:
        kind = {**KEY, "content-type": "multipart/form-data; boundary=XX", "content-length": "5000"}
        await connection.send_head("POST", "/v1/files", kind)
        async with asyncio.timeout(30):
            while (response := await post(served, form(b"x"))).status != 529:
                await asyncio.sleep(0.01)
        assert response.json()["error"]["message"].startswith("1 uploads of yours are running.")
        assert (await post(served, form(b"x"), TEAM)).status == 200


async def test_an_expired_file_says_so(client, clock, files, tmp_path):
    sent = await client.files.upload(file=("a", b"short-lived"), expires_in_seconds=3600)
    clock.advance(3_600)
    with pytest.raises(FileExpiredError):
        await client.files.retrieve_metadata(sent.id)
    assert (await client.files.list()).data == []
    assert len(blobs(tmp_path)) == 1
    assert await files.expire_files() == 1
    assert blobs(tmp_path) == []
    with pytest.raises(FileExpiredError):
        await client.files.retrieve_metadata(sent.id)


class TestDownloads:
    @pytest.fixture
    def settings(self):
        return FileSettings(downloadable=True)

    async def test_an_operator_may_let_uploads_be_downloaded(self, client):
        content = bytes(range(256)) * 9000  # more than is read at a time
        sent = await client.files.upload(file=("ü.bin", content, "application/x-thing"))
        assert sent.downloadable is True
        got = await client.files.download(sent.id)
        assert await got.read() == content

    async def test_a_download_is_never_a_page_of_this_server(self, served):
        page = form(b"<script>alert(1)</script>", kind="text/html", filename="evil.html")
        sent = (await post(served, page)).json()
        response = await served.ask("GET", f"/v1/files/{sent['id']}/content", b"", KEY)
        assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''evil.html"
        assert response.headers["x-content-type-options"] == "nosniff"
        head = await served.ask("HEAD", f"/v1/files/{sent['id']}/content", b"", KEY)
        assert (head.status, head.headers["content-length"]) == (200, str(sent["size_bytes"]))

    async def test_bytes_that_are_gone_are_a_404_and_not_half_an_answer(self, served, tmp_path):
        sent = (await post(served, form(b"x"))).json()
        blobs(tmp_path)[0].unlink()
        assert (await served.ask("GET", f"/v1/files/{sent['id']}/content", b"", KEY)).status == 404


async def test_a_server_without_files_says_so():
    async with serving(ServerSettings()) as running:
        response = await running.ask("GET", "/v1/files", b"", KEY)
        assert response.status == 404
        assert "files.enabled" in response.json()["error"]["message"]


async def test_a_database_that_is_away_is_a_500_that_may_be_tried_again(tmp_path, clock, settings):
    files = open_file_service(settings, tmp_path / "files", clock, DatabaseHandle(open_wait_s=0.05))
    async with serving(ServerSettings(), files) as running:
        assert (await running.ask("GET", "/v1/files", b"", KEY)).status == 500
        assert (await running.ask("GET", "/v1/files/file_1", b"", KEY)).headers["retry-after"] == "1"


async def test_an_upload_waits_for_a_database_that_opens_late(tmp_path, clock, settings):
    """Longer than the server waits before it watches a request's client, who has sent all of the body by then."""
    handle = DatabaseHandle()
    files = open_file_service(settings, tmp_path / "files", clock, handle)
    async with serving(ServerSettings(), files) as running:
        coming = asyncio.create_task(post(running, form(b"x" * 100_000)))
        await asyncio.sleep(3 * GRACE_PERIOD_S)
        assert not coming.done()
        with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
            handle.open(database)
            assert (await coming).status == 200


async def test_a_request_names_a_file_and_its_target_gets_the_content(served, client, files):
    sent = await client.files.upload(file=("notes.md", "# Notizen: Grüße".encode()))
    document = {"type": "document", "title": "Notes", "source": {"type": "file", "file_id": sent.id}}
    turn = {"role": "user", "content": [document, {"type": "text", "text": "What is this?"}]}
    ask = {"model": "claude-haiku-5-5", "messages": [turn]}
    await client.messages.create(max_tokens=50, **ask)
    await client.messages.count_tokens(**ask)
    assert len({request.request_id for request in served.ledger.requests}) == 1
    named, inlined = (len(request.body) for request in served.ledger.requests)
    assert named != inlined == len(served.provider.calls[0].body)
    for call in served.provider.calls:
        source = call.message.messages[0].content[0].source
        assert source.data == "# Notizen: Grüße"
        assert sent.id.encode() not in call.body
    await files.delete(Owner("key_test"), sent.id)
    with pytest.raises(anthropic.NotFoundError, match=r"messages\.0\.content\.0\.source\.file_id: The file .* deleted"):
        await client.messages.create(max_tokens=50, **ask)
