"""Schedules chosen by the clock: the kernels of a model are its tasks, measured one by one."""
