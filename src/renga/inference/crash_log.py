"""Logging what should not have happened."""

from __future__ import annotations

import logging
import traceback

_log = logging.getLogger(__name__)


def log_crash(request_id: str, error: Exception) -> None:
    """Log where it happened, without the error's own words: they may quote the prompt."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("request %s: %s mid-stream\n%s", request_id, type(error).__name__, where)
