"""Pictures as points: what they have in common (PCA) and which lie near which (t-SNE)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no stubs

from gorae.eda.colours import GREY_WEIGHTS
from gorae.errors import DataError

# Components before t-SNE, as van der Maaten and Hinton (2008) did.
_FIRST_COMPONENTS = 50

# Fewer points have no neighbourhoods; PCA places them.
_FEWEST_FOR_TSNE = 8


@dataclass(frozen=True)
class PrincipalPictures:
    """The mean of small grey pictures and the directions in which they differ most."""

    mean: NDArray[np.float64]
    """Mean picture, (S, S), 0 to 255."""
    components: NDArray[np.float64]
    """Eigen-pictures, (k, S, S), of length 1, largest share first; their sign is arbitrary."""
    explained: NDArray[np.float64]
    """Share of the variance along each, (k,)."""


def principal_pictures(
    thumbnails: NDArray[np.uint8], *, num_components: int = 30
) -> PrincipalPictures:
    """PCA of small pictures in grey ("eigenfaces", Turk and Pentland, 1991).

    Args:
        thumbnails: RGB, (n, S, S, 3), all of one size; a few thousand say what all would.
        num_components: Eigen-pictures wanted; at most n - 1 exist, none of equal pictures.

    Raises:
        DataError: There are fewer than two pictures.
    """
    count, height, width = thumbnails.shape[:3]
    if count < 2:
        raise DataError(
            f"Eigen-pictures need at least 2 pictures, got {count}. Check the scan for why "
            "the others cannot be read."
        )
    grey = thumbnails.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)
    flat = grey.reshape(count, -1).astype(np.float64)
    # Equal pictures have no directions; the shares are then 0, not 0 / 0.
    spread = float(flat.var(axis=0, ddof=1).sum())
    if spread == 0:
        none = np.zeros((0, height, width))
        return PrincipalPictures(flat[0].reshape(height, width), none, np.zeros(0))
    # The solver takes fewer components than there are pictures and pixels. Its answer is
    # exact; the seed is of its first vector, which decides the last digits.
    wanted = min(num_components, count - 1, flat.shape[1] - 1)
    found = PCA(wanted, svd_solver="arpack", random_state=0).fit(flat)
    return PrincipalPictures(
        mean=found.mean_.reshape(height, width),
        components=found.components_.reshape(wanted, height, width),
        explained=found.explained_variance_ / spread,
    )


def eigen_picture(component: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An eigen-picture (S, S) as grey pixels; 128 is no difference, the largest 0 or 255."""
    largest = float(np.abs(component).max()) or 1.0
    return np.rint(127.5 + 127.5 * component / largest).astype(np.uint8)


def embedding_map(
    features: NDArray[np.float32],
    *,
    num_points: int = 2000,
    perplexity: float = 40.0,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A flat map on which pictures with like features lie together: PCA, then t-SNE.

    Features are compared by their direction. On one machine the same features give the same
    map; distances between far clusters, and the sizes of clusters, mean nothing.

    Args:
        features: (N, D), finite.
        num_points: Largest number of pictures on it; more are drawn from by the seed.
        perplexity: About how many neighbours count; at most a third of the points.
        seed: Of the drawn pictures and of t-SNE.

    Returns:
        Rows of ``features`` on the map, (n,), ascending, and their places, (n, 2).

    Source: van der Maaten and Hinton, 2008; perplexity 40 of the course notebook that the
    map reproduces (RoadVirusHN/boostcamp-AI-TIL).
    """
    total = len(features)
    rows = np.arange(total)
    if total > num_points:
        drawn = np.random.default_rng(seed).choice(total, num_points, replace=False)
        rows = np.sort(drawn)
    points = features[rows].astype(np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1.0)
    points = _first_components(points)
    if len(rows) < _FEWEST_FOR_TSNE or not points.any():
        flat = np.zeros((len(rows), 2))
        flat[:, : points.shape[1]] = points[:, :2]
        return rows, flat
    model = TSNE(perplexity=min(perplexity, (len(rows) - 1) / 3), init="pca", random_state=seed)
    # One thread: with more, the order of their sums would change the map from run to run.
    with threadpool_limits(1):
        return rows, model.fit_transform(points).astype(np.float64)


def _first_components(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on their first principal axes, of fixed sign; (n, at most 50)."""
    centred = points - points.sum(axis=0) / max(1, len(points))
    wanted = min(_FIRST_COMPONENTS, *centred.shape)
    with threadpool_limits(1):
        left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    # A direction and its opposite are one axis; the largest weight is made positive.
    largest = right[np.arange(len(right)), np.abs(right).argmax(axis=1)]
    signs = np.where(largest < 0, -1.0, 1.0)
    components: NDArray[np.float64] = (left * sizes * signs)[:, :wanted]
    return components
