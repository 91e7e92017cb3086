"""The student's loss: which layers face each other, the terms, and one step that does each pass once."""
