"""The grid that int8 weights lie on, which training keeps to and conversion rounds to.

Each output channel of a kernel has one scale, max |w| / 127; its weights are whole multiples of it.
"""

# Symmetric int8 leaves -128 out (https://ai.google.dev/edge/litert/models/quantization_spec).
LEVELS = 127
