"""Planning: pure functions from a workload and facts to the parts of a launch plan."""
