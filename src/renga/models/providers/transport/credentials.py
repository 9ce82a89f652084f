"""Where an upstream's key comes from: a variable of the environment, or a file such as Kubernetes mounts.

Invariant: a key is read once, at the start; neither an error nor a setting ever holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from renga.config import ProviderSettings
from renga.errors import ConfigError


def read_key(name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> str | None:
    """The key for a provider; None where its settings name none, or a variable that is empty.

    Raises: ConfigError if it should be in a file that cannot be read or is empty.
    """
    if settings.api_key_file is None:
        return (environ.get(settings.api_key_env) if settings.api_key_env else None) or None
    path = f"providers.{name}.api_key_file"
    try:
        key = Path(settings.api_key_file).expanduser().read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"cannot read {settings.api_key_file}: {error.strerror}", path=path) from error
    except UnicodeDecodeError:
        # The error would quote what it could not read.
        raise ConfigError(f"{settings.api_key_file} is not a text of plain letters", path=path) from None
    if not key or not key.isprintable():
        what = "is empty" if not key else "holds more than one line"
        raise ConfigError(f"{settings.api_key_file} {what}", path=path, hint="put the key there, and nothing else")
    return key


def place_of_key(settings: ProviderSettings) -> str:
    """Where the key belongs, for people."""
    return settings.api_key_env or settings.api_key_file or "api_key_env"
