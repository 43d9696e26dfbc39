"""What needs data and decides: observers, ranges, quantisation plans."""
