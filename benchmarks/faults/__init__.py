"""What is lost when processes are killed under load: nothing, or it is a fault."""
