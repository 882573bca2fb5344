"""The decoder and encoder registries, and one file per codec."""
