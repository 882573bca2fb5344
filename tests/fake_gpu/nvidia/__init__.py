"""The package of the fake, as the real one is a package."""
