"""Facts read off a graph: nothing here changes one."""
