"""What goes wrong, and what must be heard then. Each scenario begins with a machine that was never switched on."""

from __future__ import annotations

import json
from collections.abc import Callable

from device.controls.retried import FAILED as BUTTON_FAILED
from device.guidance.loop import NO_CAMERA, NO_MODEL, READY
from device.moments.sealer import STORAGE_BACK, STORAGE_FAILED, STORAGE_FULL
from device.sentinel.watch import BACK, ENDED, FAILED, STOPPED
from scripts.systemd_vm import hand
from scripts.systemd_vm.stage import DEVICE, SENTINEL, SETTINGS, STATE, CardBox, Stage
from shared.errors import Unreachable
from shared.policy import CAMERA_BACK
from shared.policy.kinds import PAUSED_NO_PICTURE

BOOT_S, LOOKS_S = 120.0, 120.0
SOON_S = 3.0
"""The promise of the sentinel."""
KEEP_ALL = f"sed -i 's/audit_share.*/audit_share = 1.0/' {SETTINGS}"
"""Every chunk is sealed: the card has work."""
LOOKING = 5  # looks after which the agent counts as under way
CALM_S = 5.0  # for what is said at the start

Scenario = Callable[[Stage], None]


def boot(stage: Stage, *, camera: bool = True, before: str = "") -> None:
    """Switch it on and wait until it looks at pictures. before: a shell command before the services start."""
    stage.box.start()
    if camera:
        stage.box.camera_on()
    stage.box.until_up(BOOT_S)
    if before:
        stage.box.run(f"systemctl stop {DEVICE}; {before}; systemctl start --no-block {DEVICE}")
    if camera:
        until_it_looks(stage)


def until_it_looks(stage: Stage) -> None:
    """Raises: Unreachable after LOOKS_S."""
    began_s = stage.now_s()
    while looks(stage) < LOOKING:
        if stage.now_s() - began_s > LOOKS_S:
            raise Unreachable(f"{DEVICE} does not look.", hint=stage.box.run(f"systemctl status {DEVICE}").output)
        stage.pause(1.0)
    stage.pause(CALM_S)


def looks(stage: Stage) -> int:
    """How many pictures it looked at; 0 = it does not run."""
    try:
        return int(json.loads(stage.box.run(f"cat {STATE}/status.json").output)["looks"])
    except (ValueError, KeyError, TypeError):
        return 0


def card_box(stage: Stage) -> CardBox:
    assert isinstance(stage.box, CardBox)
    return stage.box


def restarts(stage: Stage) -> str:
    return stage.fact("restarts", f"systemctl show --property=NRestarts --value {DEVICE}")


def first_boot(stage: Stage) -> None:
    """No camera at the first boot; then it is plugged in."""

    def switched_on() -> None:
        boot(stage, camera=False)

    stage.event("switched on, no camera", switched_on, listen_s=60, hears={NO_CAMERA: 60}, never=(READY, STOPPED))
    stage.event(
        "the camera appears", stage.box.camera_on, listen_s=45, hears={CAMERA_BACK: 35}, never=(STOPPED, FAILED)
    )
    restarts(stage)
    stage.expect(that=looks(stage) > 0, what="no picture was looked at")


def killed(stage: Stage) -> None:
    """The agent is killed."""
    boot(stage)
    for number in (1, 2):
        what = f"kill -9 of the agent, the {number}. time"
        kill = f"systemctl kill --kill-whom=main --signal=KILL {DEVICE}"
        stage.event(what, kill, listen_s=35, hears={STOPPED: SOON_S, BACK: 35}, never=(FAILED,))
    restarts(stage)


def stopped(stage: Stage) -> None:
    """SIGSTOP of the agent: systemd's watchdog ends it."""
    boot(stage)
    stop = f"systemctl kill --kill-whom=main --signal=STOP {DEVICE}"
    stage.event("SIGSTOP of the agent", stop, listen_s=60, hears={STOPPED: SOON_S, BACK: 60}, never=(FAILED,))
    stage.fact("systemd", f"journalctl -b -u {DEVICE} -o cat | grep -i -E 'watchdog|killed' | tail -3")
    stage.expect(that=restarts(stage) == "1", what="the watchdog did not restart it once")


def camera_hangs(stage: Stage) -> None:
    """SIGSTOP of the process that reads the camera."""
    boot(stage)
    stop = "pkill -STOP -f device.capture.worker_main"
    stage.event(
        "the camera's process hangs",
        stop,
        listen_s=40,
        hears={PAUSED_NO_PICTURE: 3.5, BACK: 40},
        never=(FAILED, STOPPED),
    )
    stage.expect(that=restarts(stage) == "0", what="the agent was restarted")


def model_unreadable(stage: Stage) -> None:
    """The model is torn when the agent starts, and whole again later."""
    boot(stage)
    tear = "cp -a /opt/model /opt/whole; for f in /opt/model/*.onnx; do truncate -s 1000 $f; done"
    stage.event(
        "the model's files are torn, and the agent is restarted",
        f"{tear}; systemctl restart {DEVICE}",
        listen_s=40,
        hears={NO_MODEL: 35},
        never=(READY, FAILED),
    )
    mend = "cp -a /opt/whole/. /opt/model/"
    stage.event("the model is whole again", mend, listen_s=45, hears={READY: 45}, never=(FAILED,))
    restarts(stage)


def card_full(stage: Stage) -> None:
    """The card is filled to the last byte by somebody else, while every chunk is kept."""
    boot(stage, before=KEEP_ALL)
    fill = f"cat /dev/zero > {STATE}/filler 2>/dev/null; df --output=avail {STATE} | tail -1"
    full = stage.event("the card is full", fill, listen_s=75, never=(STOPPED, FAILED))
    free = f"rm {STATE}/filler"
    stage.event("the card has room again", free, listen_s=60, hears={STORAGE_BACK: 60}, never=(STOPPED, FAILED))
    stage.expect(that=restarts(stage) == "0", what="the agent was restarted")
    stage.at_the_end(lambda: _said_once(stage, full.at_s, full.until_s))


def _said_once(stage: Stage, from_s: float, until_s: float) -> None:
    """A trouble of the storage is announced, and not again and again."""
    about = [sound for sound in stage.heard if sound.text.startswith((STORAGE_FULL.rstrip("."), STORAGE_FAILED))]
    count = len([sound for sound in about if from_s <= sound.at_s < until_s])
    stage.expect(that=1 <= count <= 3, what=f"the full card was announced {count} times")


def card_stalls(stage: Stage) -> None:
    """What is written to the card waits 45 s; what must be heard does not."""
    box = card_box(stage)
    boot(stage, before=KEEP_ALL)
    before = looks(stage)
    stage.event("the card stalls", box.stall_card, listen_s=45, never=(STOPPED, FAILED))
    stage.event("the card goes on", box.thaw_card, listen_s=40, never=(STOPPED, FAILED))
    after = looks(stage)
    stage.fact("looks before and after", f"echo {before} {after}")
    stage.expect(that=after - before > 85, what="it did not go on looking")
    stage.expect(that=restarts(stage) == "0", what="the agent was restarted")


def card_read_only(stage: Stage) -> None:
    """The card becomes read-only, and the agent is restarted on it."""
    box = card_box(stage)
    boot(stage, before=KEEP_ALL)

    def lock() -> None:
        stage.box.run(f"systemctl stop {DEVICE}")
        box.lock_card(read_only=True)
        stage.box.run(f"systemctl start --no-block {DEVICE}")

    def unlock() -> None:
        box.lock_card(read_only=False)

    hears = {STORAGE_FAILED: 50.0, READY: 50.0}
    stage.event("the card is read-only, and the agent is restarted", lock, listen_s=50, hears=hears)
    hears = {STORAGE_BACK: 70.0}
    stage.event("it can be written again", unlock, listen_s=70, hears=hears, never=(STOPPED, FAILED))
    restarts(stage)


def wrong_setting(stage: Stage) -> None:
    """A slip in the settings: the agent ends with status 2 and is not started again."""
    boot(stage)
    slip = f"cp {SETTINGS} /var/tmp/good.toml; echo '[voice]' >> {SETTINGS}; echo 'speach = \"speakers\"' >> {SETTINGS}"
    restart = f"{slip}; systemctl restart {DEVICE} || true"
    stage.event("a misspelt setting, and a restart", restart, listen_s=30, hears={FAILED: 12}, never=(READY,))
    stage.fact("state", f"systemctl show --property=ActiveState,ExecMainStatus {DEVICE} | xargs")
    mend = f"cp /var/tmp/good.toml {SETTINGS}; systemctl restart --no-block {DEVICE}"
    stage.event("the setting is mended, and a restart", mend, listen_s=40, hears={READY: 40}, never=(FAILED,))


def ended(stage: Stage) -> None:
    """Stopped by hand, and started again."""
    boot(stage)
    stop = f"systemctl stop {DEVICE}"
    stage.event("systemctl stop", stop, listen_s=30, hears={ENDED: 5}, never=(STOPPED, FAILED))
    stage.event("systemctl start", f"systemctl start --no-block {DEVICE}", listen_s=30, hears={READY: 30})


def sentinel_killed(stage: Stage) -> None:
    """The sentinel is killed, and the agent soon after."""
    boot(stage)
    kill = f"systemctl kill --signal=KILL {SENTINEL}"
    stage.event("kill -9 of the sentinel", kill, listen_s=12, never=(STOPPED, FAILED))
    stage.fact("the sentinel", f"systemctl is-active {SENTINEL}")
    kill = f"systemctl kill --kill-whom=main --signal=KILL {DEVICE}"
    stage.event("kill -9 of the agent", kill, listen_s=35, hears={STOPPED: SOON_S, BACK: 35}, never=(FAILED,))


def program_damaged(stage: Stage) -> None:
    """A file of the agent is torn: every start fails, for ever."""
    boot(stage)
    tear = "truncate -s 300 $(find /opt/waycue/lib -path '*/device/agent/run.py')"
    kill = f"systemctl kill --kill-whom=main --signal=KILL {DEVICE}"
    what = "a file of the agent is torn, and the agent is killed"
    stage.event(what, f"{tear}; {kill}", listen_s=150, hears={STOPPED: SOON_S, FAILED: 130})
    restarts(stage)


def power_cut(stage: Stage) -> None:
    """The plug is pulled while every chunk is kept."""
    boot(stage, before=KEEP_ALL)

    def cut() -> None:
        stage.box.power_off()
        stage.box.power_on()
        stage.box.until_up(BOOT_S)

    stage.event("the plug is pulled and put back", cut, listen_s=60, hears={READY: 60}, never=(FAILED,))
    stage.fact("kept moments", f"ls {STATE}/outbox | wc -l")


def button_missing(stage: Stage) -> None:
    """A button is in the settings, and the machine has no pins."""
    boot(stage, camera=False, before=f"sed -i 's/keys = false/keys = false\\npin = \"GPIO17\"/' {SETTINGS}")
    stage.event(
        "the camera appears; the button cannot be used",
        stage.box.camera_on,
        listen_s=60,
        hears={BUTTON_FAILED: 60},
        never=(STOPPED, FAILED),
    )
    stage.expect(that=looks(stage) > 0, what="no picture was looked at")
    restarts(stage)


ALL: dict[str, Scenario] = {
    made.__name__: made
    for made in (
        first_boot, killed, stopped, camera_hangs, model_unreadable, card_full, card_stalls, card_read_only,
        wrong_setting, ended, sentinel_killed, program_damaged, power_cut, button_missing, hand.pressed,
    )
}  # fmt: skip
OWN_KERNEL = frozenset({hand.pressed.__name__})
"""Those that no container can play."""
