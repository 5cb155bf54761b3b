"""Methods of the literature and simple strong ones, all fed the same inputs and judged by the same rankings."""
