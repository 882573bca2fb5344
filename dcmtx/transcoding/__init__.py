"""Carries out the plan for one file: source, frames, writer."""
