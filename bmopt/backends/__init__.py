"""One folder per engine; the only place that imports its SDK."""
