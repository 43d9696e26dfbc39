"""The benchmark harness: clock, schedule, statistics, accuracy."""
