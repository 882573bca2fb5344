"""What the standard says about the data set, as pure functions: a header in, edits out."""
