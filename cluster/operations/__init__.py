"""What people ask for that changes much or takes a while: planned, applied by the plan's hash, followed to its end."""
