"""Where a shot was fired, from its arrival times at several sensors."""
