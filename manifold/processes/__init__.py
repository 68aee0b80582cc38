"""Worker processes, as the main process of their node sees them: how they start, what goes to them, how they end."""
