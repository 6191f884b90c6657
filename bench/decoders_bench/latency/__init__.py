"""The cost of a step: its parts, comparisons with other ways of decoding a model of the same shape, and the limits of
the device."""
