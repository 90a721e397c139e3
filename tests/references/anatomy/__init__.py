"""The twins of `examples/anatomy`, written by hand."""
