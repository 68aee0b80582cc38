"""Chat logs replayed through actors alone, as fast as it goes, without any socket; every delivery checked."""
