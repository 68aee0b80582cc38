"""No I/O, no threads, no clock, no randomness: what goes in decides what comes out."""
