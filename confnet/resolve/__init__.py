"""Document -> Plan: includes, args, variants, constants, `repeat`, `when` and `share` settled.

Definitions are resolved once per distinct set of arguments. Everything that can be wrong here is collected; the
modules that cannot be resolved become `BROKEN`, about which later stages stay silent.
"""

from confnet.resolve.documents import resolve

__all__ = ["resolve"]
