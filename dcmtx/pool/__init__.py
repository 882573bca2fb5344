"""Processes that run jobs: workers that contain codec crashes, and forked children for frames."""
