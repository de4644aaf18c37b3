"""What is measured on a registered pair: the words, the pair, and a file for each kind of metric in ``metrics``."""
