"""Which target answers, and why."""
