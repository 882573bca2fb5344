"""The relay: receives over the network, transcodes to what each destination takes, and loses nothing."""
