"""The server's end of the engine process: requests in, token batches out.

Owns: the child's life (start, watch, restart, stop), its socket, and which request each batch belongs to.
Must never know: text, chat templates, HTTP.
Invariants: every `generate` ends in a batch with `finish` or an exception, also when the child is killed; leaving the
iterator cancels the request in the child; no thread is started.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from renga.engine.protocol import EngineStats, Generation, Launch, ModelInfo, TokenBatch


class EngineClient:
    """One engine process, kept alive."""

    def __init__(self, launch: Launch) -> None: ...

    @property
    def ready(self) -> bool:
        """Whether requests would run now."""
        raise NotImplementedError

    @property
    def info(self) -> ModelInfo | None:
        """What the process said of its model; None before it was ever ready."""
        raise NotImplementedError

    def stats(self) -> EngineStats:
        """The engine's load."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the process and return at once; `wait_ready` waits."""
        raise NotImplementedError

    async def wait_ready(self) -> ModelInfo:
        """Wait until the model is loaded.

        Raises: ConfigError if it cannot be loaded.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """End the process. Requests in flight end in `EngineDied`."""
        raise NotImplementedError

    def generate(self, generation: Generation) -> AsyncGenerator[TokenBatch]:
        """Continue a prompt. Closing the iterator frees what the request holds at the engine's next step.

        Raises: Overloaded if too many wait; InvalidRequest if prompt or grammar cannot be used; EngineDied if the
                process was lost.
        """
        raise NotImplementedError
