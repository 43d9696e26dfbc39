"""Other INT8 tools, each in an environment of its own, beside bmopt on the same models."""
