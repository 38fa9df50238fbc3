"""Threads, cores and providers of the model, as the settings name them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from device import config
from shared.errors import ConfigError
from shared.runtime import Execution, GuidanceModel
from shared.runtime.execution import CPU
from tests.shared.runtime.altered import golden_picture


def test_settings_name_threads_cores_and_provider(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    file = tmp_path / "device.toml"
    file.write_text(f'[guidance]\nthreads = 1\ncores = "{core}"\n')
    assert config.load(file).guidance.execution == Execution(1, (core,))
    assert config.load(None).guidance.execution == Execution(2, ())
    assert Execution.of(threads=3, cores="1-3, 7", provider="tensorrt") == Execution(
        3, (1, 2, 3, 7), ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU)
    )


@pytest.mark.parametrize("cores", ["one", "1-", "-1", "1..3", "1;2"])
def test_cores_that_are_no_list_are_refused(cores: str) -> None:
    with pytest.raises(ConfigError, match=r"guidance.cores.*Write for example"):
        Execution.of(threads=1, cores=cores, provider="cpu")


def test_a_core_or_a_provider_that_is_not_there_is_refused_before_a_walk() -> None:
    with pytest.raises(ConfigError, match=r"core 999.*Change guidance.cores"):
        config.load(None, {"guidance.cores": "999"})
    with pytest.raises(ConfigError, match=r"MadeUpProvider.*it has.*CPUExecutionProvider.*guidance.provider"):
        Execution(providers=("MadeUpProvider",)).check()


def test_the_thread_that_looks_keeps_to_the_models_cores_and_no_other_thread_does(
    starter_bundle: Path, model: GuidanceModel
) -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    seen: list[set[int]] = []

    def look() -> None:
        kept = GuidanceModel.load(starter_bundle, allow_demo=True, execution=Execution(2, (core,)))
        observation = kept.look(golden_picture(starter_bundle, 0))
        assert np.array_equal(observation.image_tokens, model.look(golden_picture(starter_bundle, 0)).image_tokens)
        seen.append(os.sched_getaffinity(0))

    looking = threading.Thread(target=look)
    looking.start()
    looking.join()
    assert seen == [{core}]
    assert os.sched_getaffinity(0) == everywhere
