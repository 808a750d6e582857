"""Figures for papers, from records alone: a module a kind; matplotlib is imported when a figure is drawn."""
