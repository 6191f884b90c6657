"""What a step costs: split into its parts, against other ways of decoding the same shape, and against what the device
can do."""
