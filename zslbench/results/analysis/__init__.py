"""Records as rows: which are asked for, selection, calibration, comparison and names."""
