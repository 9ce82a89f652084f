"""The local models of a server, as its settings name them.

Owns: which names there are, and putting the local provider together.
Must never know: requests.
Invariant: the default model comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from renga.clock import Clock
from renga.config import CacheSettings, Config
from renga.errors import ConfigError
from renga.models.engine.loading.model_source import name_model
from renga.models.providers.local.held_prefixes import HeldPrefixes
from renga.models.providers.local.local_model import LocalModel, StartedEngine
from renga.models.providers.local.model_pool import ModelPool
from renga.models.providers.local.provider import LocalProvider


def name_local_models(config: Config) -> tuple[str, ...]:
    """The names of all local models, the default one first; () where none runs.

    Raises: ConfigError if two have the same name.
    """
    if not config.engine.enabled:
        return ()
    default = name_model(config.engine.model)
    if default in config.models:
        raise ConfigError(
            f"[models.{default}] has the name of the default local model",
            hint="choose another name, or set engine.model to another model",
        )
    return (default, *config.models)


def build_prefixes(settings: CacheSettings, clock: Clock) -> HeldPrefixes:
    """The prompt cache of one engine as it was set up in `[cache]`."""
    return HeldPrefixes(clock, settings.minimum_tokens, hides=settings.hide_shared_prefixes)


def build_local_provider(
    config: Config, signature_secret: Callable[[], bytes], clock: Clock, started: StartedEngine | None = None
) -> LocalProvider:
    """Put the local models together. `started` is the default one's process, if that is on its way already.

    Raises: ConfigError if two models have the same name.
    """
    default, *others = name_local_models(config)
    make_prefixes = partial(build_prefixes, config.cache, clock)
    models = (
        LocalModel(default, config.engine, make_prefixes, started),
        *(LocalModel(name, config.models[name], make_prefixes) for name in others),
    )
    return LocalProvider(ModelPool(models, clock, config.engine.max_memory_bytes), signature_secret)
