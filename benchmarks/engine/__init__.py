"""What serving costs beside the bare pipeline, and what a model takes of real arrivals."""
