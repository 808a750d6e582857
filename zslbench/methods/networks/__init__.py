"""Networks from semantics to features: the nearest prototype wins."""
