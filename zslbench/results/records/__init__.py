"""Records of runs: their store, who does which run, tuned presets, merge, export, cleanup, and what runs now."""
