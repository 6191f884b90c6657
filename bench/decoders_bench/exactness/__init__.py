"""What decoders sample, held against a joint distribution that is known by enumeration."""
