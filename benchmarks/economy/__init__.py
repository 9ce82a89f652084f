"""What caches, batches, files and limits save, hold and cost."""
