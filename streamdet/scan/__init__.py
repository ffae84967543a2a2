"""Many files heard once each: found, shared out, remembered, gathered."""
