"""The local engine as a provider: a Messages request becomes a prompt, its tokens become events."""

from renga.models.providers.local.engine_metrics import EngineMetrics
from renga.models.providers.local.local_model import StartedEngine, start_engine
from renga.models.providers.local.local_models import build_local_provider, name_local_models
from renga.models.providers.local.provider import LocalProvider

__all__ = [
    "EngineMetrics",
    "LocalProvider",
    "StartedEngine",
    "build_local_provider",
    "name_local_models",
    "start_engine",
]
