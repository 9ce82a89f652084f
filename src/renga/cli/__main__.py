"""Runs the commands as `python -m renga.cli`, where no `renga` is installed."""

from renga.cli import main

main()
