"""Rules for operations in which positions or runs of tokens meet: one family per file, listed in `ovxai.collapse.ops`.

A rule returns the values of the operation's outputs, None where it has nothing special to say, or raises `Refusal`
with a reason.
"""
