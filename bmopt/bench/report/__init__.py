"""A benchmark as one self-contained HTML page; every number in it is a function of the samples."""
