"""The exact collapse: what a head says of every masked copy, without making the copies.

`values` are the kinds of tensors there are, `carry` says which axes an operation only passes along,
`rules` say what an operation makes of each kind, `interpreter` walks the head with them.
"""
