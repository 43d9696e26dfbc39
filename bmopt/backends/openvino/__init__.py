"""OpenVINO's CPU plugin. Runs files that others made; nothing is compiled for it."""
