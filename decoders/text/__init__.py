"""Between texts and canvases: prompts to token ids, canvases back to texts, where a text ends, and what is told of
it."""
