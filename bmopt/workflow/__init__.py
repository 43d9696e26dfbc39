"""The only place that composes optimizer, calibration, backends, bench and data."""
