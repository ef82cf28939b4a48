"""Key vectors of the mask memory: descriptor and colour, projected to principal components (docs/adr/0014)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from slimecore.memory.config import MemoryConfig

__all__ = ["KeyProjection"]


class KeyProjection:
    """Projection of descriptors and colours to key vectors.

    Half the squared distance of two keys is ``(1 - cosine) / temperature + color_weight / 2 * squared Lab distance``,
    apart from the dropped components. Before :meth:`fit`, no component is dropped.

    Parameters
    ----------
    config : MemoryConfig
    """

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._fitted: tuple[Tensor, Tensor] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the projection in bytes."""
        return sum(t.numel() * t.element_size() for t in self._fitted or ())

    def snapshot(self) -> dict[str, Tensor]:
        """Return the projection as named tensors, empty before :meth:`fit`."""
        return {} if self._fitted is None else dict(zip(("mean", "basis"), self._fitted, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore a :meth:`snapshot`."""
        self._fitted = (state["mean"], state["basis"]) if state else None

    def vectors(self, descriptor: Tensor, color: Tensor) -> Tensor:
        """Compute the key vectors of grid cells.

        Parameters
        ----------
        descriptor : (N, D) float tensor
            L2-normalised over D.
        color : (N, C) float tensor
            Lab patches of :func:`slimecore.imaging.lab_patches.lab_patches`.

        Returns
        -------
        (N, min(key_dims, D + C)) float tensor
            All D + C components before :meth:`fit` or if ``key_dims`` is 0. C is 0 if ``color_weight`` is 0.
        """
        joint = self._joint(descriptor, color)
        if self._fitted is None:
            return joint
        mean, basis = self._fitted
        return (joint - mean) @ basis

    def fit(self, descriptor: Tensor, color: Tensor) -> None:
        """Fit the principal components to all cells of a frame. Further calls have no effect.

        Parameters
        ----------
        descriptor : (N, D) float tensor
            L2-normalised over D.
        color : (N, C) float tensor
        """
        joint = self._joint(descriptor, color)
        if self._fitted is None and 0 < self._config.key_dims < min(joint.shape):
            mean = joint.mean(0)
            # Eigenvalues are ascending, so the last vectors are the principal components.
            basis = torch.linalg.eigh((joint - mean).T @ (joint - mean)).eigenvectors[:, -self._config.key_dims :]
            self._fitted = mean, basis.contiguous()

    def _joint(self, descriptor: Tensor, color: Tensor) -> Tensor:
        """Concatenate descriptor and colour, scaled to the units of the kernel's exponent."""
        scaled = descriptor / self._config.temperature**0.5
        return torch.cat([scaled, self._config.color_weight**0.5 * color], 1) if self._config.color_weight else scaled
