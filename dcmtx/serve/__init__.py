"""The resident server: it has the codecs loaded, and forks a process that is the command line for each job."""
