"""Function processes, and what runs inside each of them."""
