"""Pages of the documentation that say what is declared in code: methods, data, presets, options, records."""
