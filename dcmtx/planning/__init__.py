"""A request and a header become a plan, before any pixel is touched."""
