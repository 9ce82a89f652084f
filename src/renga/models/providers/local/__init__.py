"""The local engine as a provider: a Messages request becomes a prompt, its tokens become events."""

from renga.models.providers.local.provider import LocalProvider as LocalProvider
from renga.models.providers.local.provider import StartedEngine as StartedEngine
from renga.models.providers.local.provider import build_prefixes as build_prefixes
from renga.models.providers.local.provider import start_engine as start_engine
