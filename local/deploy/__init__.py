"""Before and after a deployment: what stands in its way, and whether the stack works."""
