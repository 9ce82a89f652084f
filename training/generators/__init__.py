"""Document generators, one file for each family of tasks."""
