"""Decoders for diffusion language models inside stock vLLM: any decoder, chosen per request."""
