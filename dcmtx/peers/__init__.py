"""Command lines of other transcoders (peers), translated into ours: tables and their readers; no file access."""
