"""The model to beat: its recorded answers, and the prompts with which it is asked."""
