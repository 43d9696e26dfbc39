"""bmopt: the fastest artifact that keeps a trained network's accuracy, and the proof of both."""

__version__ = "0.1.0"
