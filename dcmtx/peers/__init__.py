"""The peers' own words: command lines of other transcoders, turned into ours. Tables, and what reads them; no files."""
