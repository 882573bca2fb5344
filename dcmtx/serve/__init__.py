"""The resident server: it keeps the codecs loaded, and forks a process per job that runs the command line."""
