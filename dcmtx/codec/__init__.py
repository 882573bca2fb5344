"""The decoder registry and the encoder registry, and one file per codec."""
