"""Text in and out of the model: tokens, prompts, and the choice of the next token."""
