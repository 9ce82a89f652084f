"""Generators of conversations that only hokku-m is taught, one file for each family of tasks."""
