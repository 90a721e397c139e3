"""What a file may name: the layers of torch.nn and their arguments, functions, initialisers and parametrizations.

All of it is data, read without torch; callers add their own layers and functions through `confnet.catalog.registry`.
"""
