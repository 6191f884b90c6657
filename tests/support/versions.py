"""What the installed version of transformers can do."""

from __future__ import annotations

import inspect

from transformers import PreTrainedTokenizerFast

ESCAPES = "sanitize_control_tokens" in inspect.signature(PreTrainedTokenizerFast.apply_chat_template).parameters
"""Whether its chat templates take control tokens in a message as text."""
