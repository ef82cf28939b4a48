"""A frame while it is processed: its search region, features computed on first use, and its final labels."""
