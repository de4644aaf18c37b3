"""One network for every λ and for several penalties: its weights are a function of the regularization."""
