"""What governs: configuration, the local stack, the API and its page, the command line, the demo."""
