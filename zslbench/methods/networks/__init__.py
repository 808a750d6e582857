"""Networks from semantics to features; the class with the nearest prototype is predicted."""
