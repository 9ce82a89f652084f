"""What routing saves and keeps: recorded answers of many models, and a running server with hokku."""
