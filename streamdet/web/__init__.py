"""The review page: server-rendered views of the event store and, in a daemon, live audio."""
