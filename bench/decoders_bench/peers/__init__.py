"""Other decoders beside this library's: same machine, same model, same prompts, alternating runs in one process
group."""
