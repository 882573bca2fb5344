"""Processes that do jobs: workers that survive a codec, and children for frames."""
