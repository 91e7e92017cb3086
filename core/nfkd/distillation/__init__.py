"""The student's loss: the matching of layers, the terms, and a step that makes each pass once."""
