"""Data of your own: arrays, folders and pictures become data sets that every verb knows."""
