"""What is remembered between requests: prompt prefixes, and whole answers.

Must never know: who answers, HTTP, SQL. Values of `wire/` and a clock are all it needs.
"""
