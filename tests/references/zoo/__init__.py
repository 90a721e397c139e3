"""Hand-written PyTorch: the models that the examples must equal, in names, outputs and gradients."""
