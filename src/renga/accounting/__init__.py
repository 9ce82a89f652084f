"""What a request may use and what it used: keys, leases, prices, the ledger, metrics."""
