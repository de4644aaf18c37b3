"""Smoothness penalties on a displacement or velocity field: a file each, found by its being here.

Each is a pure function of a field u (B, D, *spatial) in voxels, returning one number per sample (B,). With ``spacing``
(mm per voxel) the field and the derivatives are taken in mm; without, in voxels. Averages are over voxels and
components, and where it says so over axes. A file loads torch only when its function is called.
"""
