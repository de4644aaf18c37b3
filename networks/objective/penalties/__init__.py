"""Smoothness penalties of a displacement or velocity field. Every file of this folder is found and registered.

A penalty is a pure function of a field u (B, D, *spatial) in voxels. It returns one value per sample (B,). With
``spacing`` (mm per voxel), the field and its derivatives are computed in mm, otherwise in voxels. "mean" averages over
voxels and components, "mean_a" over axes. With ``weight`` (B or 1, 1, *spatial), the value at each voxel is multiplied
by its weight before the average: λ as a field. A file loads torch only when its function is called. A function computes
in the dtype of its field, where squares in half precision can be lost; the loss of a penalty computes in float32.
"""
