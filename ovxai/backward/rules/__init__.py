"""How each kind of operation hands a derivative on to its operands, by family."""
