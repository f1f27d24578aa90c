"""Function processes, and the code inside each of them."""
