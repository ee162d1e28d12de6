"""The API's routes, by what they are about. Every one says what it needs (cluster/api/access.py)."""
