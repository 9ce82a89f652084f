"""Measurements, in rooms: gateway, routing, engine, economy, faults. `python -m benchmarks` lists the commands."""
