"""Many runs: studies, how they are run, and the tables, statistics, figures and report of their rows.

Names are loaded on first use: reading a study or a command line needs neither torch nor MONAI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
