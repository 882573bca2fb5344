"""Pixels: frames, items, colours, bits and codestream headers, without any knowledge of data sets."""
