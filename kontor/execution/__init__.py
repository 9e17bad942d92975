"""An order's way: from intent through the gate and the queue to the venue, and back as reports and fills."""
