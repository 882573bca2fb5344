"""The data set as bytes: File Meta Information, index, edits, and encodings."""
