"""Learning tasks one after the other: the tasks, the rivals that resist forgetting, what they keep."""
