"""Registration of two image files by a trained network, for images with any grid."""

from .image_pair import ImagePair as ImagePair
from .registering import Registered as Registered
from .registering import register as register
