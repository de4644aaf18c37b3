"""One run: cohort, pairs, training, evaluation and rows. Also the uses of a trained network.

Public names are loaded on first use, so that reading settings or a command line loads neither torch nor MONAI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
