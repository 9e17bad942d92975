"""One step each: what the flows are made of."""
