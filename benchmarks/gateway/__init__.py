"""What a gateway costs: added latency, throughput, memory, the time of a start, and of work for clients that left."""
