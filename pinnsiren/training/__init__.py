"""Methods that fit a network to a compiled problem."""
