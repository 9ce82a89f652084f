"""Limits counted in the process and limits that servers share keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from renga.accounting.limits.account import AccountContext
from renga.accounting.limits.shared.shared_limits import SharedLimits
from renga.accounting.limits.shared.valkey_session import load_scripts
from renga.config import LimitSettings
from renga.testing.servers.valkey import PROGRAM, ValkeyServer
from renga.testing.suites.limits_suite import LimitsSuite

CLOCK = "renga:{limits}:clock"


class InProcess:
    """Each server for itself."""

    def settings(self, settings: LimitSettings) -> LimitSettings:
        return settings

    def share(self, settings: LimitSettings, context: AccountContext) -> SharedLimits:
        raise AssertionError("nothing is shared")

    async def set_time(self, now_us: int) -> None:
        """It has the test's clock."""


class Shared:
    """Through a server whose time is a key that the test sets."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self.scripts = load_scripts(f"{{0, redis.call('GET', '{CLOCK}')}}")

    def settings(self, settings: LimitSettings) -> LimitSettings:
        return replace(settings, shared_url=self.server.url, shared_timeout_s=5.0)

    def share(self, settings: LimitSettings, context: AccountContext) -> SharedLimits:
        return SharedLimits(settings, context, self.scripts)

    async def set_time(self, now_us: int) -> None:
        assert self.server.call("SET", CLOCK, str(now_us)) == b"+OK\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as running:
        yield running


class TestInProcess(LimitsSuite):
    @pytest.fixture
    def counting(self) -> InProcess:
        return InProcess()


class TestShared(LimitsSuite):
    @pytest.fixture
    def counting(self, server: ValkeyServer) -> Shared:
        server.call("FLUSHALL")
        return Shared(server)
