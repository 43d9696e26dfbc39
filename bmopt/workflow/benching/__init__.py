"""``bmopt bench``: models and artifacts measured beside each other, each in its own process."""
