"""A similarity: MONAI's global mutual information."""

from smoothmorph.networks import SimilarityEntry

ENTRY = SimilarityEntry(
    name="mi",
    title="Mutual information",
    meaning="mutual information of the warped and the fixed image's intensities, in 23 soft bins each",
    source="Viola and Wells, IJCV 1997",
    target="monai.losses:GlobalMutualInformationLoss",
    sign=-1,
    better="higher",
    unit="nats",
)
