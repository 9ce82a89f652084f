"""Public data sets: which there are, where they lie, and how each is obtained.

None of them is part of the repository. Evaluations, benchmarks, training and tests all ask here, so that whatever
misses a set names the same command.
"""
