"""Orders that wait for a price: stops, take profits, triggers and trailing stops, as OKX's algo orders."""
