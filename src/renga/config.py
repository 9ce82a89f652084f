"""Settings: the table, and how renga.toml and RENGA_* become one frozen Config.

Owns: every setting's name, type, default, unit and help. `docs/reference/settings.md` is built from this file.
Must never know: what the settings are used for.
Invariants: an unknown key is refused with its file and line; nothing is read at import; secrets are named (an environment
variable), never written in the file.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

ProviderKind: TypeAlias = Literal["anthropic", "openai_compatible"]


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    host: Annotated[str, Meta(description="Address to listen on. Loopback unless you say otherwise.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on.", ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, Meta(description="Largest request body, in bytes.", ge=1024)] = 32 * 1024 * 1024
    body_timeout_s: Annotated[float, Meta(description="Seconds a client may take to send its body.", gt=0)] = 30.0
    ping_interval_s: Annotated[float, Meta(description="Seconds of silence before a stream sends a ping.", gt=0)] = 10.0
    drain_timeout_s: Annotated[float, Meta(description="Seconds that running requests get after Ctrl-C.", ge=0)] = 10.0


class EngineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: Annotated[bool, Meta(description="Whether to run a local model at all.")] = True
    model: Annotated[str, Meta(description="`hokku`, a GGUF file, an OpenVINO folder, or a hub id.")] = "hokku"
    max_running: Annotated[int, Meta(description="Requests that generate at the same time.", ge=1, le=256)] = 16
    max_waiting: Annotated[int, Meta(description="Requests that may wait; beyond it clients get 529.", ge=0)] = 256
    cache_bytes: Annotated[int, Meta(description="Memory for key-value blocks, in bytes.", ge=16 << 20)] = 1 << 30
    threads: Annotated[int, Meta(description="Threads of the engine process; 0 lets it choose.", ge=0)] = 0
    request_timeout_s: Annotated[float, Meta(description="Longest a request may wait and run, in seconds.", gt=0)] = (
        600.0
    )


class ProviderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[ProviderKind, Meta(description="How to speak to it.")]
    base_url: Annotated[str, Meta(description="Where it is, without `/v1`.")]
    api_key_env: Annotated[str | None, Meta(description="Environment variable that holds its key.")] = None
    connect_timeout_s: Annotated[float, Meta(description="Seconds to connect.", gt=0)] = 5.0
    first_event_timeout_s: Annotated[float, Meta(description="Seconds to the first byte of an answer.", gt=0)] = 60.0
    idle_timeout_s: Annotated[
        float, Meta(description="Seconds of silence in a stream before it is given up.", gt=0)
    ] = 60.0
    max_retries: Annotated[int, Meta(description="Further tries of a retryable failure.", ge=0, le=10)] = 2
    max_connections: Annotated[int, Meta(description="Connections kept to it.", ge=1)] = 256
    max_input_tokens: Annotated[int, Meta(description="Prompt limit of its models, in tokens.", ge=1)] = 1_000_000
    max_output_tokens: Annotated[int, Meta(description="Answer limit of its models, in tokens.", ge=1)] = 128_000


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(description="Database URL; empty means SQLite in the data folder.")] = ""
    data_dir: Annotated[str, Meta(description="Folder for the database and secrets; empty means the user's.")] = ""


class LedgerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    flush_interval_s: Annotated[
        float, Meta(description="Longest a row waits before it is written; the most that kill -9 loses.", gt=0, le=1)
    ] = 0.25
    queue_rows: Annotated[int, Meta(description="Rows that may wait for the writer.", ge=100)] = 100_000


class TierSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Ordered targets a tier, as `["local/hokku", "anthropic/claude-haiku-5-5"]`. None: the default for what is there."""

    haiku: Annotated[tuple[str, ...] | None, Meta(description="Targets of the haiku tier, in order.")] = None
    sonnet: Annotated[tuple[str, ...] | None, Meta(description="Targets of the sonnet tier, in order.")] = None
    opus: Annotated[tuple[str, ...] | None, Meta(description="Targets of the opus tier, in order.")] = None


class PriceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars per million tokens for one target; what is None follows from input by the published ratios."""

    input_usd: Annotated[float, Meta(description="Dollars per million input tokens.", ge=0)]
    output_usd: Annotated[float, Meta(description="Dollars per million output tokens.", ge=0)]
    cache_read_usd: Annotated[float | None, Meta(description="Dollars per million cache-read tokens.", ge=0)] = None
    cache_write_5m_usd: Annotated[
        float | None, Meta(description="Dollars per million tokens written for 5 min.", ge=0)
    ] = None
    cache_write_1h_usd: Annotated[
        float | None, Meta(description="Dollars per million tokens written for 1 h.", ge=0)
    ] = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a server is built from."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    store: StoreSettings = StoreSettings()
    ledger: LedgerSettings = LedgerSettings()
    tiers: TierSettings = TierSettings()
    providers: dict[str, ProviderSettings] = {}
    prices: dict[str, PriceSettings] = {}
