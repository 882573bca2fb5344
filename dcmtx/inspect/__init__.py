"""Looks at files and compares them; changes nothing."""
