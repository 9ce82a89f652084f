"""Decides which target answers a request, and records why."""
