"""What answers chat completions, and how it is asked: a model in this process, or anything behind HTTP."""
