"""What a file may say: Pydantic models, and the reader that makes them from located values."""

from confnet.spec.models import Document
from confnet.spec.reader import read_document, read_module

__all__ = ["Document", "read_document", "read_module"]
