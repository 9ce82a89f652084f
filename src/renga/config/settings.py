"""Every setting's name, type, default, unit and help, and where files live.

Must never know: what the settings are used for, or how they are read.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct, inspect

from renga.config.admin import AdminSettings
from renga.config.batches import BatchSettings
from renga.config.cache import CacheSettings
from renga.config.canaries import CanarySettings
from renga.config.discounts import DiscountSettings
from renga.config.files import FileSettings
from renga.config.health import HealthSettings, TargetSettings
from renga.config.kinds import Count, NonNegative, Share
from renga.config.limits import LimitSettings
from renga.config.routing import PolicySettings

ProviderKind: TypeAlias = Literal["anthropic", "openai_compatible"]
LoadTime: TypeAlias = Literal["start", "first_use"]


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens, and how patient it is with clients."""

    host: Annotated[str, Meta(description="Address to listen on. Loopback unless you say otherwise.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, Meta(description="Largest request body.", ge=1024)] = 32 * 1024 * 1024
    head_timeout_s: Annotated[float, Meta(description="How long the head of a request may take.", gt=0)] = 10.0
    body_timeout_s: Annotated[float, Meta(description="How long a client may take to send its body.", gt=0)] = 30.0
    write_timeout_s: Annotated[float, Meta(description="How long a client may read nothing.", gt=0)] = 60.0
    idle_timeout_s: Annotated[int, Meta(description="How long a connection stays open without requests.", ge=1)] = 75
    max_connections: Annotated[
        int, Meta(description="Connections at a time, of each port; beyond it clients get 529. 0: no bound.", ge=0)
    ] = 10_000
    max_connections_per_address: Annotated[
        int, Meta(description="Of one address; beyond it clients get 429. Not behind a balancer. 0: no bound.", ge=0)
    ] = 0
    ping_interval_s: Annotated[float, Meta(description="Silence after which a stream sends a ping.", gt=0)] = 10.0
    drain_timeout_s: Annotated[float, Meta(description="What running requests get after Ctrl-C.", ge=0)] = 10.0


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One local model with an engine process of its own: `[models.NAME]`, whose target is `local/NAME`."""

    model: Annotated[str, Meta(description="`hokku`, a GGUF file, an OpenVINO folder, or a hub id.")]
    load: Annotated[LoadTime, Meta(description="When its engine process starts.")] = "first_use"
    load_timeout_s: Annotated[
        float,
        Meta(description="Longest a request waits until it is loaded; then the next target answers, or 529.", gt=0),
    ] = 60.0
    unload_idle_s: Annotated[
        float, Meta(description="Without requests for so long it is unloaded; the next one loads it. 0: never.", ge=0)
    ] = 600.0
    max_running: Annotated[int, Meta(description="Requests that generate at the same time.", ge=1, le=256)] = 16
    max_background: Annotated[
        int, Meta(description="Of these, requests of batches while live ones are there.", ge=0, le=256)
    ] = 1
    max_waiting: Annotated[int, Meta(description="Requests that may wait; beyond it clients get 529.", ge=0)] = 256
    cache_bytes: Annotated[int, Meta(description="Memory for key-value blocks.", ge=16 << 20)] = 1 << 30
    threads: Annotated[int, Meta(description="Threads of the engine process; 0 lets it choose.", ge=0)] = 0
    request_timeout_s: Annotated[float, Meta(description="Longest a request may wait and run.", gt=0)] = 600.0
    temperature: Annotated[
        NonNegative | None, Meta(description="Where a request says none; none: the model's own.")
    ] = None
    top_p: Annotated[Share | None, Meta(description="Where a request says none; none: the model's own.")] = None
    top_k: Annotated[Count | None, Meta(description="Where a request says none; none: the model's own. 0: all.")] = None


class EngineSettings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default local model, and what all local models share."""

    model: Annotated[str, Meta(description="`hokku`, a GGUF file, an OpenVINO folder, or a hub id.")] = "hokku"
    load: Annotated[LoadTime, Meta(description="When its engine process starts.")] = "start"
    unload_idle_s: Annotated[
        float, Meta(description="Without requests for so long it is unloaded; the next one loads it. 0: never.", ge=0)
    ] = 0.0
    enabled: Annotated[bool, Meta(description="Whether to run local models at all.")] = True
    max_memory_bytes: Annotated[
        int,
        Meta(
            description="Memory of all loaded local models: weights, key-value blocks and 256 MiB each. Where one more "
            "would pass it, the idle one that was used longest ago is unloaded. 0: no bound.",
            ge=0,
        ),
    ] = 0


class ProviderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream: `[providers.NAME]`. Its models are targets named `NAME/model`."""

    kind: Annotated[ProviderKind, Meta(description="How to speak to it.")]
    base_url: Annotated[str, Meta(description="Where it is, without `/v1`.")]
    replicas: Annotated[tuple[str, ...], Meta(description="More servers of the same models, without `/v1`.")] = ()
    affinity: Annotated[bool, Meta(description="Whether a conversation stays with the replica that knows it.")] = True
    api_key_env: Annotated[str | None, Meta(description="Name of the environment variable that holds its key.")] = None
    api_key_file: Annotated[str | None, Meta(description="File that holds its key and nothing else.")] = None
    connect_timeout_s: Annotated[float, Meta(description="Time to connect.", gt=0)] = 5.0
    first_event_timeout_s: Annotated[float, Meta(description="Time to the first byte of an answer.", gt=0)] = 60.0
    idle_timeout_s: Annotated[float, Meta(description="Silence after which a stream is given up.", gt=0)] = 60.0
    max_retries: Annotated[int, Meta(description="Further tries of a retryable failure.", ge=0, le=10)] = 2
    max_connections: Annotated[int, Meta(description="Connections kept to it.", ge=1)] = 256
    max_input_tokens: Annotated[int, Meta(description="Prompt limit of its models.", ge=1)] = 1_000_000
    max_output_tokens: Annotated[int, Meta(description="Answer limit of its models.", ge=1)] = 128_000


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where keys and the ledger live."""

    url: Annotated[str, Meta(description="Database URL; empty means SQLite in the data folder.")] = ""
    data_dir: Annotated[str, Meta(description="Folder for the database; empty means the user's data folder.")] = ""


class LedgerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests are written down, and how soon."""

    flush_interval_s: Annotated[
        float, Meta(description="Longest a row waits in the journal before it is in the database.", gt=0, le=1)
    ] = 0.25
    queue_rows: Annotated[int, Meta(description="Rows kept in memory while the database is away.", ge=100)] = 100_000


class TierSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Ordered targets a tier, as `["local/hokku", "anthropic/claude-haiku-5-5"]`. None: what is there by default."""

    haiku: Annotated[tuple[str, ...] | None, Meta(description="Targets of the haiku tier, in order.")] = None
    sonnet: Annotated[tuple[str, ...] | None, Meta(description="Targets of the sonnet tier, in order.")] = None
    opus: Annotated[tuple[str, ...] | None, Meta(description="Targets of the opus tier, in order.")] = None


class PriceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Price of one target, `[prices."vllm/qwen3-8b"]`, or of all of a provider's, `[prices."vllm/*"]`."""

    input_usd: Annotated[NonNegative, Meta(description="Input.")]
    output_usd: Annotated[NonNegative, Meta(description="Output, thinking included.")]
    cache_read_usd: Annotated[NonNegative | None, Meta(description="Cache reads; 0.1 x input if absent.")] = None
    cache_write_5m_usd: Annotated[NonNegative | None, Meta(description="Cached for 5 min; 1.25 x input if absent.")] = (
        None
    )
    cache_write_1h_usd: Annotated[NonNegative | None, Meta(description="Cached for 1 h; 2 x input if absent.")] = None
    starts_on: Annotated[date | None, Meta(description="First day, in UTC; before it the price list counts.")] = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a server is built from."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    engine: EngineSettings = EngineSettings()
    store: StoreSettings = StoreSettings()
    ledger: LedgerSettings = LedgerSettings()
    limits: LimitSettings = LimitSettings()
    tiers: TierSettings = TierSettings()
    cache: CacheSettings = CacheSettings()
    batches: BatchSettings = BatchSettings()
    files: FileSettings = FileSettings()
    health: HealthSettings = HealthSettings()
    targets: dict[str, TargetSettings] = {}
    models: dict[str, ModelSettings] = {}
    providers: dict[str, ProviderSettings] = {}
    prices: dict[str, PriceSettings] = {}
    discounts: dict[str, DiscountSettings] = {}
    policies: dict[str, PolicySettings] = {}
    canaries: dict[str, CanarySettings] = {}


SECTIONS: dict[str, type[Struct]] = {
    "server": ServerSettings,
    "admin": AdminSettings,
    "engine": EngineSettings,
    "store": StoreSettings,
    "ledger": LedgerSettings,
    "limits": LimitSettings,
    "tiers": TierSettings,
    "cache": CacheSettings,
    "batches": BatchSettings,
    "files": FileSettings,
    "health": HealthSettings,
}
NAMED_SECTIONS: dict[str, type[Struct]] = {
    "models": ModelSettings,
    "providers": ProviderSettings,
    "targets": TargetSettings,
    "prices": PriceSettings,
    "discounts": DiscountSettings,
    "policies": PolicySettings,
    "canaries": CanarySettings,
}
"""Sections with one table a name, as `[providers.vllm]`. Set in the file only."""

VARIABLES: dict[str, str] = {
    "RENGA_CONFIG": "Path of the settings file, instead of ./renga.toml or the one in the user's settings folder.",
    "RENGA_URL": "Server that `renga ask`, `models`, `get` and `eval` talk to, instead of answering by themselves.",
    "RENGA_KEY": "Key that these commands send.",
    "RENGA_DATASETS": "Folder that public data sets are put into and read from, instead of `data/` in the clone.",
    "RENGA_SHARED": "Folder whose `data/` is looked in for public data sets as well, instead of `../shared`.",
}
"""Variables that are read but are no settings."""

UNITS: dict[str, str] = {
    "_s": "seconds",
    "_bytes": "bytes",
    "_tokens": "tokens",
    "_rows": "rows",
    "_usd": "dollars per million tokens",
    "_usd_per_day": "dollars a day, in UTC",
    "_usd_per_month": "dollars a month, in UTC",
}


class Setting(Struct, frozen=True):
    """One row of the settings reference."""

    name: str
    variable: str | None
    """None where it can be set in the file only."""
    type: str
    default: str
    unit: str
    help: str


def settings_table() -> tuple[Setting, ...]:
    """Every setting, in the order of the file. `docs/reference/settings.md` is made of it."""
    rows: list[Setting] = []
    for section, struct in SECTIONS.items():
        for field in read_fields(struct).values():
            variable = variable_name(section, field.name)
            rows.append(_render_setting(f"{section}.{field.name}", variable, field))
    for section, struct in NAMED_SECTIONS.items():
        for field in read_fields(struct).values():
            rows.append(_render_setting(f"{section}.NAME.{field.name}", None, field))
    return tuple(rows)


def variable_name(section: str, field: str) -> str:
    """The environment variable of a setting: `server.port` -> RENGA_SERVER_PORT."""
    return f"RENGA_{section}_{field}".upper()


def read_fields(struct: type[Struct]) -> dict[str, inspect.Field]:
    """The fields of a section, by name, with their types taken apart."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.name: field for field in info.fields}


def plain_type(field: inspect.Field) -> inspect.Type:
    """The type of a field without its description and without None."""
    kind = field.type
    while True:
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
        else:
            return kind


def describe_type(kind: inspect.Type) -> str:
    """What a value must be, in words: `a whole number from 0 to 65535`."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            word = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return " ".join([word, *_describe_bounds(kind)])
        case inspect.LiteralType():
            return "one of " + ", ".join(repr(value) for value in cast("tuple[str | int, ...]", kind.values))
        case inspect.VarTupleType():
            return "a list of texts"
        case inspect.DateType():
            return "a day, as 2026-12-01"
        case _:
            return "a text"


def unit_of(name: str) -> str:
    """The unit that a setting's name ends in; "" for a count or a text."""
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def _describe_bounds(kind: inspect.IntType | inspect.FloatType) -> list[str]:
    if kind.ge is not None and kind.le is not None:
        return [f"from {kind.ge} to {kind.le}"]
    lower = f"of at least {kind.ge}" if kind.ge is not None else f"above {kind.gt}" if kind.gt is not None else ""
    upper = f"up to {kind.le}" if kind.le is not None else ""
    return [part for part in (lower, upper) if part]


def _render_setting(name: str, variable: str | None, field: inspect.Field) -> Setting:
    help_text = ""
    if isinstance(field.type, inspect.Metadata):
        help_text = cast("dict[str, str]", field.type.extra_json_schema or {}).get("description", "")
    return Setting(
        name=name,
        variable=variable,
        type=describe_type(plain_type(field)),
        default="required" if field.required else _render_default(field.default),
        unit=unit_of(field.name),
        help=help_text,
    )


def _render_default(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else msgspec.json.encode(value).decode()


def data_dir(store: StoreSettings) -> Path:
    """The folder for everything this installation keeps. Not created here."""
    if store.data_dir:
        return Path(store.data_dir).expanduser()
    import platformdirs

    return platformdirs.user_data_path("renga")


def database_url(store: StoreSettings) -> str:
    """The SQLAlchemy URL of the database."""
    return store.url or f"sqlite:///{data_dir(store) / 'renga.db'}"
