"""The database: keys, ledger and secrets. All SQL lives here.

Owns: the tables, their migrations, every statement, and the one thread of a server that may use them.
Must never know: HTTP, prices, what a key may do.
Invariants: nothing here is awaited or called on the event loop; `store_thread.py` and `tables/secrets.py` import
no SQLAlchemy, so that a server starts serving before it is loaded.
"""
