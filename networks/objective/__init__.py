"""The training objective and its terms: smoothness penalties and image similarities."""
