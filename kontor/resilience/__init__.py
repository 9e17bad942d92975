"""What keeps a desk standing when the network does not: clocks, deadlines, backoff, budgets, breakers, supervision."""
