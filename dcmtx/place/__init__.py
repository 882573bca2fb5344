"""Where bytes come from and where they go: readers and sinks, by kind of place."""
