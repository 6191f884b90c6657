"""Samples of decoders compared with a joint distribution that is known by enumeration."""
