"""The language as a JSON Schema (draft 2020-12), for editors and for tools that know nothing of confnet.

It is made from the models of `confnet.spec` and the catalog, so that it says what they say. It is written for editors
as much as for validators: layers are plain `properties` of one object, arguments are flat (a list of types and a
pattern, never alternatives), and there is no `default`, which an editor would write into files.
"""

from confnet.schema.document import document_schema, schema_text

__all__ = ["document_schema", "schema_text"]
