"""The server: OpenAI's HTTP interface on the library's own engine, and what only a diffusion model can say beside it.

It is imported by the command `decoders serve` alone, and needs the extra `serve`."""
