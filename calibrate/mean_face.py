"""Makes puppet/data/mean_face.npy: the symmetric mean of all training faces' landmarks.

Generalised Procrustes analysis (Gower 1975) in three dimensions over the cached clips, with
every face taken together with its mirror image, so that the mean is symmetric.

    python -m calibrate.mean_face --cache DIR --out puppet/data/mean_face.npy
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MESH = 468
OUTER_CORNERS = (33, 263)

Shape = NDArray[np.float64]


def procrustes_mean(shapes: Shape, rounds: int = 20) -> Shape:
    """(N, K, 3) shapes to their (K, 3) mean up to similarity, centred, of unit size."""
    shapes = shapes - shapes.mean(1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    mean: Shape = shapes[0]
    for _ in range(rounds):
        u, _, vt = np.linalg.svd(np.einsum("nki,kj->nij", shapes, mean))
        u[:, :, -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
        aligned = np.einsum("nki,nij->nkj", shapes, u @ vt)
        mean = aligned.mean(0)
        mean /= np.linalg.norm(mean)
    return mean


def mirror_partners(faces: Shape) -> NDArray[np.intp]:
    """(478,) partner of every point, by an optimal one-to-one matching of the mean face with its
    mirror image; the irises and the mesh are matched apart, since their points coincide."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    mean = procrustes_mean(faces)
    # Mirror about the plane that best maps the face onto itself: start from the mid-line points.
    partners = np.arange(mean.shape[0])
    middle = np.array((10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 164, 0, 17, 152))
    normal = np.linalg.svd(mean[middle] - mean[middle].mean(0))[2][-1]
    axis = mean[OUTER_CORNERS[1]] - mean[OUTER_CORNERS[0]]
    normal = (
        axis / np.linalg.norm(axis) if abs(normal @ axis) < 0.5 * np.linalg.norm(axis) else normal
    )
    centre = mean[middle].mean(0)
    mirrored = mean - 2 * ((mean - centre) @ normal)[:, None] * normal
    for group in (np.arange(MESH), np.arange(MESH, len(mean))):
        cost = ((mirrored[group][:, None] - mean[group][None]) ** 2).sum(-1)
        _, columns = linear_sum_assignment(cost)
        partners[group] = group[columns]
    return partners


def mean_face(faces: Shape) -> NDArray[np.float32]:
    """(N, 478, 3) landmarks in pixels to the mean in the form puppet.landmarks.mean_face gives."""
    partners = mirror_partners(faces)
    mirrored = faces[:, partners] * (-1, 1, 1)
    mean = procrustes_mean(np.concatenate((faces, mirrored)))
    # Make the symmetry exact: x through the symmetry plane, eyes level, the face upright.
    right, left = mean[OUTER_CORNERS[0]], mean[OUTER_CORNERS[1]]
    x = (left - right) / np.linalg.norm(left - right)
    down = mean[152] - mean[10]
    down -= (down @ x) * x
    y = down / np.linalg.norm(down)
    mean = (mean - (left + right) / 2) @ np.column_stack((x, y, np.cross(x, y)))
    mean /= np.linalg.norm(left - right)
    symmetric: NDArray[np.float32] = ((mean + mean[partners] * (-1, 1, 1)) / 2).astype(np.float32)
    return symmetric


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the clip cache")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    faces = []
    for path in sorted(arguments.cache.glob("*/landmarks.npy")):
        found = np.load(path, allow_pickle=False).astype(np.float64)
        faces.append(found[~np.isnan(found[:, 0, 0])][::10])
    np.save(arguments.out, mean_face(np.concatenate(faces)))


if __name__ == "__main__":
    main()
