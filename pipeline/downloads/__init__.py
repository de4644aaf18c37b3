"""Download, check and unpacking of public data sets."""
