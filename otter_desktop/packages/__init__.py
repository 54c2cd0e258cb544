"""Model packages on disk: their manifest, and the store that lists, imports and removes them."""
