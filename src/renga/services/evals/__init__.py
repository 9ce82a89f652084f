"""Evaluation suites: the same cases for a server's /v1/messages and for a checkpoint in process."""
