"""Between texts and canvases: prompts to token ids, canvases to texts, ends of texts, and records of results."""
