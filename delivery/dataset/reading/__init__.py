"""Files of labeled rows in any format into examples, or every problem by file and line; and back into rows."""
