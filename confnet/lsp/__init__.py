"""The language server: what an editor asks about a file while it is written. The extra `lsp` has what it needs."""
