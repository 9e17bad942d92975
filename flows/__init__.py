"""What runs: thin flows that open the desk, call tasks and return a small result."""
