"""One step each: what the flows are made of."""

# Set in the environment by a worker whose runs share one loop: sessions and the alert sender outlive each run there.
KEEP_OPEN = "KONTOR_KEEP_SESSIONS_OPEN"
