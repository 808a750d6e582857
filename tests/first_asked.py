"""What `cheats.Looker` imports when it is first asked."""

ONE = [1]
