"""What our decoder makes of real weights, in 8 and in 4 bits, beside llama.cpp on the very same file.

    make bench NAME=decoder     about six minutes on two cores the first time, two after; 4 GB; build/bench/decoder.json

The weights are SmolLM2-135M-Instruct (benchmarks._smollm), which has the text half of SmolVLM-256M's shape. They are
rounded to 4 bits in their file already: float32 means those, and ours are rounded once more from there.

    quality   perplexity of pages of docs/adr that stay as they are, and the share of tokens that are float32's own:
              the likeliest after each token of those pages, and of what float32 writes by itself after their beginnings
    time      one process, the same threads, the sides in turn: a token, a sentence of 8 tokens after a picture token by
              token, and the same checked in one pass (a draft that is right). By the clock, and of the processor with
              all its threads, which a busy machine disturbs less; ratios are medians over rounds
    memory    what opening a side and running it add at their peak, in a process of its own

Beside them: a uniform guess, and the tokens' frequencies. Without the weights or gguf everything is skipped with the
reason, without llama-cpp-python its own rows (benchmarks._runtime_llama).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks import _runtime_llama as llama
from benchmarks import _smollm
from benchmarks._memory import peak_mb
from exporters.onnx.graphs import export_graphs
from exporters.onnx.quantise import quantise_decoder
from server.evaluation.measures import Proportion
from server.model import checkpoint as checkpoints
from shared import atomic
from shared.errors import WaycueError
from shared.preprocess import Preprocessing
from shared.runtime import Execution
from shared.runtime.decoder import InPlaceDecoder
from shared.runtime.language import DECODER

HOME, OUT = Path("build/bench/decoder"), Path("build/bench/decoder.json")
PAGES = Path("docs/adr")
FIRST_PAGE, LAST_PAGE = "0001", "0043"  # pages of decisions are not edited: the text stays the same
WINDOW, WINDOWS = 256, 8
PROMPT, WRITTEN = 24, 32
BEFORE, SHOWN, ANSWER = 32, 24, 8  # kept; 16 image tokens and 8 after them; as benchmarks.runtime has it
ROUNDS, SINGLE = 7, 8
FLOAT, LLAMA = "float32 (torch)", "llama.cpp, the same file"
OURS = {8: "ours, 8 bits", 4: "ours, 4 bits"}
TINY = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
"""Of a tower that nobody looks with: the exporter wants one."""

Floats = NDArray[np.float32]
Ids = list[int]


@dataclass(frozen=True, slots=True)
class Side:
    """A decoder that keeps what it was shown."""

    run: Callable[[Floats, int], Floats]
    """(embeddings [k, e], rows wanted) → logits [wanted, vocabulary], valid until the next run"""
    rewind: Callable[[int], None]
    """Forget all positions from there on."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is read, in tokens."""

    windows: list[Ids]
    rest: Ids
    """What the frequencies are counted on."""
    sha256: str
    """Of the pages."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    logging.disable(logging.WARNING)
    options = argparse.ArgumentParser(prog="python -m benchmarks.decoder", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time (default: 1 2)")
    options.add_argument("--peak", metavar="SIDE", help=argparse.SUPPRESS)
    chosen = options.parse_args(argv)
    if chosen.peak:
        print(json.dumps(_peak_here(chosen.peak)))
        return
    console = Console()
    try:
        measured = measure(console, threads=chosen.threads)
    except WaycueError as error:
        console.print(f"skipped: {error}")
        measured = {"missing": str(error)}
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, measured)
    if "sides" in measured:
        console.print(table(measured))
    console.print(f"{OUT} is written.")


def measure(console: Console, *, threads: Sequence[int]) -> dict[str, Any]:
    """Everything. Raises: WaycueError where the weights cannot be had; OSError."""
    with console.status("fetching and reading the weights"):
        file = _smollm.weights()
        language = _smollm.load(file)
    with console.status("exporting the decoder (once)"):
        exported(language)
    text = read(language.tokenizer)
    with console.status(f"reading {WINDOWS} × {WINDOW} tokens"):
        quality = judged(language, text, file)
    table_ = _table(language)
    with console.status("timing"):
        times = {str(count): timed(table_, text.windows[0], file, threads=count) for count in threads}
    names = [*OURS.values(), *([LLAMA] if llama.installed() else [])]
    return {
        "weights": {
            "name": _smollm.NAME,
            "package": f"{_smollm.PACKAGE} {_smollm.VERSION}",
            "licence": _smollm.LICENCE,
            "sha256": _smollm.FILE_SHA256,
        },
        "text": {"pages": f"docs/adr {FIRST_PAGE} to {LAST_PAGE}", "sha256": text.sha256, "tokens": WINDOWS * WINDOW},
        "sides": quality | ({} if llama.installed() else {LLAMA: {"missing": llama.INSTALL}}),
        "baselines": baselines(text, vocabulary=len(table_)),
        "times": times,
        "memory_mb": {name: _peak_there(name) for name in names},
        "file_mb": {name: round(_graph(bits).stat().st_size / 1e6, 1) for bits, name in OURS.items()}
        | {LLAMA: round(file.stat().st_size / 1e6, 1)},
    }


# --- what is read ---


def read(tokenizer: Any) -> Text:
    """The pages in tokens, cut into windows."""
    pages = [page for page in sorted(PAGES.glob("0*.md")) if FIRST_PAGE <= page.name[:4] <= LAST_PAGE]
    whole = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    ids = list(map(int, tokenizer(whole, add_special_tokens=False).input_ids))
    end = WINDOW * WINDOWS
    windows = [ids[at : at + WINDOW] for at in range(0, end, WINDOW)]
    return Text(windows, ids[end:], hashlib.sha256(whole.encode()).hexdigest())


def baselines(text: Text, *, vocabulary: int) -> dict[str, float]:
    """Perplexity of knowing nothing, and of knowing how frequent each token is in other pages (each counted once more
    than it was seen)."""
    counts = np.bincount(text.rest, minlength=vocabulary) + 1.0
    logs = np.log(counts / counts.sum())
    said = [token for window in text.windows for token in window[1:]]
    return {"uniform": float(vocabulary), "frequencies": round(float(np.exp(-logs[said].mean())), 1)}


# --- quality ---


def judged(language: _smollm.Language, text: Text, file: Path) -> dict[str, Any]:
    """Of each side: perplexity, and the shares of tokens that are float32's."""
    table_ = _table(language)
    reference, written = [_in_torch(language, window) for window in text.windows], _written(language, text)
    choices = [logits[:-1].argmax(axis=1) for logits in reference]
    losses = {FLOAT: np.concatenate([_losses(*each) for each in zip(reference, text.windows, strict=True)])}
    shares: dict[str, dict[str, Any]] = {FLOAT: {}}
    for name, side in opened(file, threads=1).items():  # threads that wait for each other crawl on a busy machine
        mine, same, same_written = [], 0, 0
        for window, best, own in zip(text.windows, choices, written, strict=True):
            side.rewind(0)
            logits = side.run(table_[window], WINDOW)
            mine.append(_losses(logits, window))
            same += int((logits[:-1].argmax(axis=1) == best).sum())
            side.rewind(0)
            again = side.run(table_[[*window[:PROMPT], *own[:-1]]], len(own))
            same_written += int((again.argmax(axis=1) == own).sum())
        losses[name] = np.concatenate(mine)
        shares[name] = {
            "likeliest_same": asdict(Proportion.of(same, WINDOWS * (WINDOW - 1))),
            "written_same": asdict(Proportion.of(same_written, sum(map(len, written)))),
        }
    return {name: {**_perplexity(loss, losses[FLOAT]), **shares[name]} for name, loss in losses.items()}


def _perplexity(losses: Floats, reference: Floats) -> dict[str, Any]:
    """And how many times the reference's it is, with the 95 % interval over windows (Student's t)."""
    by_window = (losses - reference).reshape(WINDOWS, -1).mean(axis=1)
    half = float(stats.t.ppf(0.975, WINDOWS - 1)) * float(by_window.std(ddof=1)) / WINDOWS**0.5
    mean = float(by_window.mean())
    interval = [round(float(np.exp(mean + end)), 4) for end in (-half, half)]
    return {
        "perplexity": round(float(np.exp(losses.mean())), 2),
        "of_float32": round(float(np.exp(mean)), 4),
        "of_float32_interval": interval,
    }


def _losses(logits: Floats, ids: Ids) -> Floats:
    """−log of the probability of each token after the first. logits: [n, vocabulary]; returns: [n - 1]"""
    rows = logits[:-1].astype(np.float64)
    peak = rows.max(axis=1)
    total = peak + np.log(np.exp(rows - peak[:, None]).sum(axis=1))
    loss: Floats = (total - rows[np.arange(len(rows)), ids[1:]]).astype(np.float32)
    return loss


@torch.no_grad()
def _in_torch(language: _smollm.Language, ids: Ids) -> Floats:
    """Logits [n, vocabulary]."""
    logits: Floats = language.model(torch.tensor([ids])).logits[0].numpy()
    return logits


def _written(language: _smollm.Language, text: Text) -> list[Ids]:
    """What float32 writes after the beginning of each window, up to its own end."""
    prompts = torch.tensor([window[:PROMPT] for window in text.windows])
    out = language.model.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=WRITTEN, do_sample=False
    )
    end = language.model.config.eos_token_id
    rows: list[Ids] = out[:, PROMPT:].tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def _table(language: _smollm.Language) -> Floats:
    """Embeddings [vocabulary, e]."""
    table_: Floats = language.model.get_input_embeddings().weight.detach().numpy()
    return table_


# --- sides ---


def exported(language: _smollm.Language) -> None:
    """Our decoder in 8 and 4 bits; found again as long as it would be made the same. Raises: OSError."""
    mark, wanted = HOME / "made-of.txt", _made_of()
    if mark.exists() and mark.read_text() == wanted:
        return
    atomic.remove_tree(HOME)
    raw = HOME / "raw"
    raw.mkdir(parents=True)
    made = _smollm.with_pictures(language, TINY, scale_factor=2)
    spec = Preprocessing(size_px=32)
    export_graphs(made, checkpoints.new_head(made, spec, ("curb",)), raw, size_px=spec.size_px)
    for bits in OURS:
        quantise_decoder(raw / DECODER, _graph(bits), bits=bits)
    atomic.remove_tree(raw)
    atomic.write_bytes(mark, wanted.encode())


def _graph(bits: int) -> Path:
    return HOME / f"decoder-{bits}.onnx"


def _made_of() -> str:
    """Changes with the weights, and with the code that exports them."""
    digest = hashlib.sha256(_smollm.FILE_SHA256.encode())
    for code in sorted(Path(quantise_decoder.__code__.co_filename).parent.glob("*.py")):
        digest.update(code.read_bytes())
    return digest.hexdigest()


def opened(file: Path, *, threads: int) -> dict[str, Side]:
    """Every side that is installed, beside float32."""
    sides = {name: _ours(bits, threads=threads) for bits, name in OURS.items()}
    return sides | ({LLAMA: _theirs(file, threads=threads)} if llama.installed() else {})


def _ours(bits: int, *, threads: int) -> Side:
    session = Execution(threads).session(_graph(bits))
    decoder = InPlaceDecoder(session, capacity=WINDOW, wanted_most=WINDOW)
    return Side(lambda rows, wanted: decoder.run([rows], wanted=wanted), decoder.rewind)


def _theirs(file: Path, *, threads: int) -> Side:
    context = llama.Context(file, threads=threads)
    return Side(lambda rows, wanted: context.run(rows, wanted=wanted), context.rewind)


# --- time and memory ---


def timed(table_: Floats, ids: Ids, file: Path, *, threads: int) -> dict[str, Any]:
    """Milliseconds of each side, the sides in turn, and how many times faster than llama.cpp ours are."""
    sides = opened(file, threads=threads)
    rows = table_[ids[: BEFORE + SHOWN + ANSWER]]
    took: dict[str, dict[str, list[float]]] = {}
    for side in sides.values():
        side.rewind(0)
        side.run(rows[:BEFORE], 1)
        for task in TASKS.values():
            task(side, rows)
    for _ in range(ROUNDS):
        for name, task in TASKS.items():
            for which, side in sides.items():
                wall, processor, count = time.perf_counter(), time.process_time(), task(side, rows)
                for key, seconds in (
                    (f"{name}_ms", time.perf_counter() - wall),
                    (f"{name}_cpu_ms", time.process_time() - processor),
                ):
                    took.setdefault(key, {}).setdefault(which, []).append(seconds * 1e3 / count)
    return {which: _figures(took, which) for which in sides}


def _figures(took: dict[str, dict[str, list[float]]], which: str) -> dict[str, Any]:
    figures: dict[str, Any] = {key: round(statistics.median(of[which]), 2) for key, of in took.items()}
    if LLAMA in took["token_ms"] and which != LLAMA:
        figures["times_as_fast_as_llama"] = {
            key: round(statistics.median(a / b for a, b in zip(of[LLAMA], of[which], strict=True)), 2)
            for key, of in took.items()
        }
    return figures


def _token(side: Side, rows: Floats) -> int:
    """One token after another; returns how many."""
    side.rewind(BEFORE)
    for at in range(SINGLE):
        side.run(rows[BEFORE + at : BEFORE + at + 1], 1).argmax()
    return SINGLE


def _drafted(side: Side, rows: Floats) -> int:
    """A sentence whose draft is right: one pass."""
    side.rewind(BEFORE)
    side.run(rows[BEFORE : BEFORE + SHOWN + ANSWER - 1], ANSWER).argmax(axis=1)
    return 1


def _token_by_token(side: Side, rows: Floats) -> int:
    """A sentence of which nothing is drafted."""
    side.rewind(BEFORE)
    side.run(rows[BEFORE : BEFORE + SHOWN], 1).argmax()
    for at in range(BEFORE + SHOWN, BEFORE + SHOWN + ANSWER - 1):
        side.run(rows[at : at + 1], 1).argmax()
    return 1


TASKS = {"token": _token, "drafted": _drafted, "token_by_token": _token_by_token}


def _peak_there(name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.decoder", "--peak", name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer.strip().splitlines()[-1]))


def _peak_here(name: str) -> float:
    """Megabytes that a side adds to this process at most: opened, a prompt kept, a sentence written."""
    bits = {side: bits for bits, side in OURS.items()}
    width = 576
    rows = np.zeros((BEFORE + SHOWN + ANSWER, width), np.float32)
    before = peak_mb()
    side = _ours(bits[name], threads=2) if name in bits else _theirs(_smollm.FILE, threads=2)
    side.run(rows[:BEFORE], 1)
    _token_by_token(side, rows)
    return round(peak_mb() - before, 1)


def table(measured: dict[str, Any]) -> Table:
    """For the terminal."""
    base = measured["baselines"]
    caption = (
        f"perplexity of a uniform guess {base['uniform']:.0f}, of frequencies {base['frequencies']:.0f}; "
        f"memory added (MB): {measured['memory_mb']}"
    )
    counts = list(measured["times"])
    heads = [f"{what.replace('_', ' ')} ms (cpu), {count} thr." for count in counts for what in TASKS]
    shown = Table("", "perplexity", "× float32", "likeliest same", "written same", *heads, caption=caption)
    for name, of in measured["sides"].items():
        if "missing" in of:
            shown.add_row(f"{name}: {of['missing']}")
            continue
        shares = [f"{of[key]['share']:.3f}" if key in of else "" for key in ("likeliest_same", "written_same")]
        took = [measured["times"][count].get(name) for count in counts]
        times = [f"{one[f'{task}_ms']} ({one[f'{task}_cpu_ms']})" if one else "" for one in took for task in TASKS]
        shown.add_row(name, f"{of['perplexity']}", f"{of['of_float32']}", *shares, *times)
    return shown


if __name__ == "__main__":
    main()
