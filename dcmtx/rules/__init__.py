"""The standard's rules for the data set, as pure functions: a header in, edits out."""
