"""Data of one's own: what a researcher has (arrays, folders, pictures) becomes a data set that every verb knows."""
