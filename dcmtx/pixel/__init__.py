"""The shared pixel module: frames, items, colours, bits and codestream headers; never a data set."""
