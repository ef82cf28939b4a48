"""The space in which places are compared: descriptor and colour as one vector, reduced to its principal dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from slimecore.memory.config import MemoryConfig

__all__ = ["KeyProjection"]


class KeyProjection:
    """Half the squared distance of two vectors here is what their similarity loses.

    It equals ``(1 - cosine) / temperature + color / 2 * squared Lab distance``, up to what the dimensions that are left
    out hold. Until :meth:`fit` has chosen dimensions, all are kept.

    Parameters
    ----------
    config : MemoryConfig
    """

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._fitted: tuple[Tensor, Tensor] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(t.numel() * t.element_size() for t in self._fitted or ())

    def snapshot(self) -> dict[str, Tensor]:
        """What was fitted, as named tensors; none before that."""
        return {} if self._fitted is None else dict(zip(("mean", "basis"), self._fitted, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over a :meth:`snapshot`."""
        self._fitted = (state["mean"], state["basis"]) if state else None

    def vectors(self, descriptor: Tensor, color: Tensor) -> Tensor:
        """Vectors of places.

        Parameters
        ----------
        descriptor : (N, D) float tensor
            L2-normalised.
        color : (N, C) float tensor

        Returns
        -------
        (N, min(dims, D + C)) float tensor
        """
        joint = self._joint(descriptor, color)
        if self._fitted is None:
            return joint
        mean, basis = self._fitted
        return (joint - mean) @ basis

    def fit(self, descriptor: Tensor, color: Tensor) -> None:
        """Choose the dimensions on the places of a whole frame; only the first call does."""
        joint = self._joint(descriptor, color)
        if self._fitted is None and 0 < self._config.key_dims < min(joint.shape):
            mean = joint.mean(0)
            # Ascending eigenvalues: the last vectors span what varies most.
            basis = torch.linalg.eigh((joint - mean).T @ (joint - mean)).eigenvectors[:, -self._config.key_dims :]
            self._fitted = mean, basis.contiguous()

    def _joint(self, descriptor: Tensor, color: Tensor) -> Tensor:
        joint = descriptor / self._config.temperature**0.5
        return torch.cat([joint, self._config.color_weight**0.5 * color], 1) if self._config.color_weight else joint
