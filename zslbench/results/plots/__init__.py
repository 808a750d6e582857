"""Figures for papers, from records alone: one module per kind; matplotlib is imported when a figure is drawn."""
