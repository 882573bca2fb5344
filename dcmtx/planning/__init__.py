"""What is asked for and a header become a plan, before any pixel moves."""
