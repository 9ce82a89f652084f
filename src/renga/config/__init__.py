"""Settings: the table, and how renga.toml and RENGA_* become one frozen Config.

Owns: every setting's name, type, default, unit and help (`settings.py`; `docs/reference/settings.md` is built from it),
and reading them (`load.py`).
Must never know: what the settings are used for.
Invariants: an unknown key is refused with its file and line; nothing is read at import; secrets are named (a
variable of the environment), never written in the file, and never repeated in an error.
"""

from renga.config.admin import AdminSettings
from renga.config.batches import BatchSettings
from renga.config.cache import CacheSettings
from renga.config.canaries import CanarySettings
from renga.config.discounts import DiscountSettings
from renga.config.files import FileSettings
from renga.config.health import HealthSettings, TargetSettings
from renga.config.limits import LimitSettings, WhenAway
from renga.config.load import find_config_file, load_config
from renga.config.routing import PolicySettings
from renga.config.settings import (
    VARIABLES,
    Config,
    EngineSettings,
    LedgerSettings,
    ModelSettings,
    PriceSettings,
    ProviderKind,
    ProviderSettings,
    ServerSettings,
    Setting,
    StoreSettings,
    TierSettings,
    data_dir,
    database_url,
    settings_table,
)

__all__ = [
    "VARIABLES",
    "AdminSettings",
    "BatchSettings",
    "CacheSettings",
    "CanarySettings",
    "Config",
    "DiscountSettings",
    "EngineSettings",
    "FileSettings",
    "HealthSettings",
    "LedgerSettings",
    "LimitSettings",
    "ModelSettings",
    "PolicySettings",
    "PriceSettings",
    "ProviderKind",
    "ProviderSettings",
    "ServerSettings",
    "Setting",
    "StoreSettings",
    "TargetSettings",
    "TierSettings",
    "WhenAway",
    "data_dir",
    "database_url",
    "find_config_file",
    "load_config",
    "settings_table",
]
