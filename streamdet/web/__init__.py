"""The review page: server-rendered, over the event store and, in a daemon, what is heard now."""
