"""Model packages on disk: the store that lists, imports, verifies and removes them."""
