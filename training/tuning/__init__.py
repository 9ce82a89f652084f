"""hokku-m: an open base model, tuned by low-rank adapters on a CPU."""
