"""Verbs that ask for runs (tune, ablate, reproduce) or read records (table, compare, curve, status, plot, report)."""
