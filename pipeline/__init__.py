"""One run: a cohort, its pairs, training, evaluation, rows. And what a trained network is used for.

Names are loaded on first use: reading settings or a command line needs neither torch nor MONAI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
