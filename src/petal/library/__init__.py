"""The built-in operators, written against `petal` alone, as a plugin's author writes theirs."""
