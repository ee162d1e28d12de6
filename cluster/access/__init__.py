"""Who may use the API, and for what: keys, tokens, sessions, roles, limits and the audit trail. See docs/security.md."""
