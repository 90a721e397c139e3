"""The architectures of examples/zoo, each with the reference that it must equal; one module an architecture."""
