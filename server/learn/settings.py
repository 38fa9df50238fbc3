"""The section `[learn]` of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """What the nightly retrain starts from and when it is worth running."""

    base: str = "starter"
    """Base model: "starter" (ships with waycue, a demonstration model), a name on the hub, or a folder."""
    eyes: Annotated[str, Meta(min_length=1, max_length=1024)] = "packaged"
    """What the starter stands on: "packaged", the pretrained eyes of `models add eyes`, where they were added; "none",
    a tower that has only ever seen drawings; or a backbone's name on the hub or a folder, once
    `models add eyes --backbone` has trained on it."""
    audio_encoder: str = ""
    """A Whisper-type model whose hearing is taught beside it, by its name on the hub or a folder; "" = it is given no
    sound."""
    frames: Annotated[int, Meta(ge=1, le=2)] = 1
    """Pictures that the model is shown: 1, or 2 with the one a look before."""
    blurred: bool = True
    """Whether moments teach and judge of whose picture something was hidden (`privacy.blur` on the device), where it
    shows what was confirmed of it. Off: none of them."""
    new_rows_least: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    """Skip the night when fewer verified rows than this are new since the last trained version."""
    preset: Literal["auto", "starter", "smolvlm2-256m", "smolvlm2-500m"] = "auto"
    """Values for the settings of the recipe below that are left at their defaults: those that fit a base. auto: by the
    name of the base."""
    epochs: Annotated[float, Meta(gt=0, le=1000)] = 2.0
    """How often each verified row is drawn in a night, each time in another view, within steps and steps_most."""
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 240
    """Optimiser steps of a night, at least."""
    steps_most: Annotated[int, Meta(ge=1, le=1_000_000)] = 960
    """Optimiser steps of a night, at most: rows that are not drawn in one night are in the next."""
    continue_nights: Annotated[int, Meta(ge=0, le=365)] = 2
    """Nights in a row that may go on from the last one's model, with a quarter of the steps, where few rows are new
    and none of those that taught it is gone or changed. 0 = each begins from the base."""
    hours_most: Annotated[float, Meta(gt=0, le=168)] = 8.0
    """A training that takes longer ends at the step that it is at, and its model is judged as it is then."""
    memory_mb: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    """Memory that a night may take: one that needs more ends and says so, and nothing else does. 0 = no bound."""
    batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Rows of one forward pass."""
    accumulate: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Forward passes of one step: smaller ones need less memory."""
    rank: Annotated[int, Meta(ge=1, le=1024)] = 16
    """Rank of the LoRA adapters."""
    alpha: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Scale of the adapters: alpha / rank."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of an adapter's inputs that is left out, by lot, while it learns."""
    dora: bool = False
    """Adapters that learn direction and length apart (DoRA)."""
    rslora: bool = False
    """Adapters scaled by alpha / √rank (rsLoRA)."""
    connector: Literal["full", "lora", "frozen"] = "full"
    """How the connector learns: all of its weights, through an adapter, or not at all."""
    rate: Annotated[float, Meta(gt=0, le=1)] = 2e-3
    """Highest learning rate of the adapters."""
    connector_rate: Annotated[float, Meta(gt=0, le=1)] = 5e-4
    """Highest learning rate of the connector."""
    head_rate: Annotated[float, Meta(gt=0, le=1)] = 2e-3
    """Highest learning rate of the hazard head and the ground head."""
    new_share: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """Share of the drawn pictures that is the dataset's, where the rest replays what the base knew."""
    variations: Annotated[int, Meta(ge=1, le=1000)] = 24
    """Views of each picture that there are to draw from."""
    alike_bits: Annotated[int, Meta(ge=0, le=16)] = 4
    """Confirmed moments of one walk with the same label weigh as one where their pictures differ in at most so many of
    the 64 bits of a difference hash."""
    held_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    """Share of the verified rows, from 50 on, that does not teach but shows after every epoch how well it goes on."""
    patience: Annotated[int, Meta(ge=1, le=1000)] = 3
    """The training stops after so many epochs in a row without a lower loss on them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a night trains. auto: on the GPU, where there is one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of products while it trains; weights stay in float32. auto: bf16 on a GPU that can, else float32."""
    gradient_checkpointing: bool = False
    """Compute activations again instead of keeping them: less memory, more time."""
    features_gb: Annotated[float, Meta(gt=0, le=100_000)] = 4.0
    """Gigabytes of what the frozen networks made of pictures that are kept across nights. What was not used for the
    longest time goes first."""
    teacher: str = ""
    """Larger networks on the server that propose what should have been said (`samples propose`): "packaged" (the eyes
    of `models add eyes`), a detector's or depth model's name on the hub, or a folder; several with commas."""
    challenge: Annotated[int, Meta(ge=0, le=100_000)] = 300
    """Moments that wait, the first of the queue, about which the champion and a version that was made after it are both
    asked at the end of a night: where they differ, the moment comes earlier. 0 = none."""
    masks: str = ""
    """Folders of street pictures with masks (`samples masks`) whose training splits teach the ground head of a base
    with eyes: LAYOUT:FOLDER, several with commas. Their licences then hold for the model."""
    mask_classes: str = ""
    """A TOML file that maps their classes otherwise, as `samples masks --classes` takes it."""
    mask_pictures: Annotated[int, Meta(ge=1, le=100_000)] = 600
    """Pictures of them that one night is taught, at most: 140 kB each on the disk until morning."""
    replay: int = 4000
    """Rendered frames that are replayed beside the dataset (only for a base trained on rendered walks)."""
    decoder_bits: Literal[4, 8] = 8
    """Bits of the decoder's weights, 8 or 4: what is faster on the devices is measured on one (docs/learning.md)."""
    teach_least: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    """Confirmed moments of a thing that no model has learnt from yet, from which on `teach now` takes it."""
    teach_steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 120
    """Optimiser steps of `teach now`: half of a night's. Presets of larger bases have fewer."""
    teach_replay: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    """Rendered frames that `teach now` replays."""
    teach_memory_mb: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Memory that `teach now` may take; beyond it ends, and nothing else does. 0 = three quarters of the machine's."""
    adapters: bool = False
    """After each night, fit an adapter to each wearer's confirmed moments, and offer it to their devices alone where it
    is better on their held-out walks (`adapters`). Off: it takes some 25 walks of one wearer before the gate can tell,
    and an adapter is one more model to look after."""
    gate_cases: int = 600
    """Held-out rendered frames on which a demonstration model is compared with the champion."""
    threads: Annotated[int, Meta(ge=1, le=256)] = 2
    """CPU threads for training and evaluation."""
