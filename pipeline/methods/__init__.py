"""How a pair is registered in a study."""
