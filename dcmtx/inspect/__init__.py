"""Looks at files, compares them and proves them, without converting any; a wing."""
