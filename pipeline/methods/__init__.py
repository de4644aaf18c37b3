"""How a pair is registered in a study: one method a file. Reading them loads no torch."""
