"""From a data folder to pairs in memory."""
