"""One file through its plan: source, frames, writer."""
