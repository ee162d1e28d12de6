"""The demonstration: a real semiconductor line, streamed through everything."""
