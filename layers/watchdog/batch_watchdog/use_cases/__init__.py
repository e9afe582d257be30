"""The use cases, one module for each function, named as in the template."""
