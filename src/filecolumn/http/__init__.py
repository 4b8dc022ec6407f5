"""HTTP without a framework: conditions, ranges, headers, caching, bodies."""
