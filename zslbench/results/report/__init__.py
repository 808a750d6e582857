"""The page of a whole study: its parts as data, and the one HTML file that they become."""
