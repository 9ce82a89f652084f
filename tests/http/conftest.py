"""A server on a loopback port, around a provider that does what a test's script says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from renga.accounting.keys.key_ring import KeyIdentity, KeyRing
from renga.accounting.ledger.lease import Lease, RequestOutcome
from renga.clock import SystemClock
from renga.config import ServerSettings
from renga.domain.keys import KeyTerms
from renga.files import FileService
from renga.files.file_inlining import FileInliner
from renga.http.exchange.surface import SurfaceTable
from renga.http.guard import Guard
from renga.http.http_services import HttpServices
from renga.http.public_routes import PUBLIC_ROUTES, SURFACES
from renga.http.route_table import Route
from renga.http.server.uvicorn_server import build_server_config
from renga.inference import InferenceRequest, Services
from renga.models.providers.provider_seam import Capabilities, ProviderHealth, Target
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import Batch, Message, Usage
from renga.protocols.messages.events.message_split import split
from renga.routing.catalog.catalog import Catalog
from renga.routing.router import Router
from renga.testing.http_client import RawHttpConnection, RawHttpResponse
from renga.testing.servers.listening import listening

SECRET = "sk-renga-test"
KEY = {"x-api-key": SECRET}
HELLO = Message(
    model="hokku",
    id="msg_1",
    content=(TextBlock("Hello there"),),
    stop_reason="end_turn",
    usage=Usage(7, output_tokens=3),
)
Script = Callable[[InferenceRequest], AsyncIterator[Batch]]


async def say_hello(request: InferenceRequest) -> AsyncIterator[Batch]:
    for event in split(HELLO):
        yield [event]


class Scripted:
    """A provider that does what its script says, and remembers its calls and whether they were closed."""

    def __init__(self) -> None:
        self.script: Script = say_hello
        self.calls: list[InferenceRequest] = []
        self.closed = asyncio.Event()
        self.is_ready = True
        self.can = Capabilities(max_input_tokens=8192, max_output_tokens=4096, tools=True, thinking=True)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        self.calls.append(request)
        try:
            async for batch in self.script(request):
                yield batch
        finally:
            self.closed.set()

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        self.calls.append(request)
        return 7

    def capabilities(self, model: str) -> Capabilities:
        return self.can

    def health(self, model: str = "") -> ProviderHealth:
        return ProviderHealth(self.is_ready, "" if self.is_ready else "the model is being loaded")

    async def models(self) -> tuple[str, ...]:
        return ("hokku",)


class LedgerBook:
    """A ledger that keeps what it was told, and can refuse."""

    def __init__(self) -> None:
        self.open: list[Lease] = []
        self.outcomes: list[RequestOutcome] = []
        self.requests: list[InferenceRequest] = []
        self.refusal: Exception | None = None

    def reserve(self, request: InferenceRequest) -> Lease:
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request)
        lease = Lease(request, 0)
        self.open.append(lease)
        return lease

    def extend(self, lease: Lease, request: InferenceRequest) -> Lease:
        self.open.remove(lease)
        self.requests.append(request)
        self.open.append(Lease(request, 0))
        return self.open[-1]

    def settle(self, lease: Lease, outcome: RequestOutcome) -> int | None:
        self.open.remove(lease)
        self.outcomes.append(outcome)
        return 1_234_000_042


KEYS = {
    SECRET: KeyIdentity("key_test", "test"),
    "sk-renga-usage": KeyIdentity("key_usage", "usage", terms=KeyTerms(scopes=("usage",))),
    "sk-renga-sonnet": KeyIdentity("key_sonnet", "sonnet", terms=KeyTerms(tiers=("sonnet",))),
    "sk-renga-team": KeyIdentity("key_team", "team", "wrkspc_1", KeyTerms(tiers=("haiku",))),
}


def make_keys() -> KeyRing:
    """The keys above, and no others."""
    keys = KeyRing(SystemClock())
    for secret, identity in KEYS.items():
        keys.admit(secret, identity)
    return keys


@dataclass
class Hooks:
    """What the server's life ran."""

    calls: list[str] = field(default_factory=list)

    async def startup(self) -> None:
        self.calls.append("startup")

    async def shutdown(self) -> None:
        self.calls.append("shutdown")


@dataclass
class Served:
    """A running server, and everything behind it."""

    port: int
    provider: Scripted
    ledger: LedgerBook
    hooks: Hooks
    server: uvicorn.Server

    def cancel_requests(self) -> None:
        """What the server does to requests that outlive its time to drain when it stops."""
        for task in self.server.server_state.tasks:
            task.cancel()

    async def connect(self) -> RawHttpConnection:
        return await RawHttpConnection.open("127.0.0.1", self.port)

    async def ask(
        self, method: str, path: str, body: object = b"", headers: dict[str, str] | None = None
    ) -> RawHttpResponse:
        """One request on a connection of its own. `body` is bytes, or a value to encode."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with await self.connect() as connection:
            await connection.send(method, path, KEY if headers is None else headers, data)
            return await connection.read()


@asynccontextmanager
async def serving(
    settings: ServerSettings,
    files: FileService | None = None,
    routes: Iterable[Route] = PUBLIC_ROUTES,
    surfaces: SurfaceTable = SURFACES,
) -> AsyncIterator[Served]:
    provider, ledger, hooks = Scripted(), LedgerBook(), Hooks()
    providers = {"local": provider}
    catalog = Catalog({"haiku": (Target("local", "hokku"),), "sonnet": (), "opus": ()}, providers, ("hokku",))
    parts = Services(
        providers, Router(catalog, providers), ledger, SystemClock(), files=FileInliner(files) if files else None
    )
    behind = HttpServices(
        parts,
        make_keys(),
        catalog,
        settings,
        CollectorRegistry(),
        startup=hooks.startup,
        shutdown=hooks.shutdown,
        files=files,
    )
    async with listening(build_server_config(Guard(behind, routes, surfaces), settings)) as listener:
        yield Served(listener.port, provider, ledger, hooks, listener.server)
    assert hooks.calls == ["startup", "shutdown"]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[ServerSettings], Awaitable[Served]]]:
    """Starts a server with settings of the test's own."""
    open_servers = []

    async def start(settings: ServerSettings) -> Served:
        context = serving(settings)
        open_servers.append(context)
        return await context.__aenter__()

    yield start
    for context in open_servers:
        await context.__aexit__(None, None, None)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(ServerSettings()) as running:
        yield running


@pytest.fixture
def hello() -> dict[str, object]:
    """The body of a request that any server answers."""
    return {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
