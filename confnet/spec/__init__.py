"""What a file may say: Pydantic models, and the reader that makes them from located values."""

from confnet.spec.extending import base_of, extended
from confnet.spec.models import Document
from confnet.spec.reader import read_document, read_module

__all__ = ["Document", "base_of", "extended", "read_document", "read_module"]
