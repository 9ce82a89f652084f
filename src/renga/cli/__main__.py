"""`python -m renga.cli`."""

from renga.cli import main

main()
