"""The session gate of the browser entry: who is behind a request that nginx asks about."""
