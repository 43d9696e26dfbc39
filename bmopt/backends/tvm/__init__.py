"""Apache TVM: one self-contained library per model, for CPUs without a vendor runtime."""
