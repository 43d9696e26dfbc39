"""Half precision in the graph: element types, Casts at the borders, constants."""
