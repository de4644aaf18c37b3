"""Images and displacement fields: pure functions, and MONAI array and dictionary transforms.

Names are loaded on first use, so that reading settings or a command line needs neither torch nor MONAI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
