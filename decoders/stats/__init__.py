"""Row statistics: everything that a strategy may ask of a row of logits. See `decoders.stats.reference`."""
