"""The server: OpenAI's HTTP interface on the library's own engine, with extensions for diffusion models.

Only the command `decoders serve` imports it; it needs the extra `serve`."""
