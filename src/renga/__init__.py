"""Renga: a self-hosted Haiku tier. Nothing happens at import."""

__version__ = "0.1.0"
