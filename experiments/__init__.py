"""Many runs: studies, executors, and the tables, statistics, figures and report made from their rows.

Names are loaded on first use, so that reading a study or a command line needs neither torch nor MONAI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
