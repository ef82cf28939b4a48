"""A network small enough for tests: seconds, not minutes."""

import pytest
import torch

from training.config import TrainConfig
from training.scene import SceneSettings


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """32 channels everywhere, two pairs of 32 px."""
    return TrainConfig(
        steps=4,
        channels=(32, 32, 32),
        cross_dim=32,
        sizes=(32,),
        counts=(2,),
        denoise_size=32,
        warmup=2,
        bfloat16=False,
        scenes=SceneSettings(clutter=2, objects=(1, 2)),
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors are slower on several threads than on one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """The folder of an untrained export."""
    from training.export import export
    from training.train import start_run

    out = tmp_path_factory.mktemp("models") / "slime-tiny"
    export(start_run(tiny), tiny, out)
    return out
