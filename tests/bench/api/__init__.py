"""The API under load: many readers of the stream, and what a page asks, while a pipeline streams."""
