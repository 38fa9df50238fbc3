"""The disk of a machine with a kernel of its own: Debian's kernel, modules that it lacks, the root of the container.

kernel/     a Debian with its kernel and what modules are made with   (suite, packages)
pins/       modules: pins of a board that can be pressed              (pins/, Debian's linux-source)
disk.img    root/ with the modules and what answers commands          (all of the above, root/)
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from scripts.systemd_vm import image
from scripts.systemd_vm.image import SUITE, Places, say

PACKAGES = (
    "linux-image-amd64", "linux-headers-amd64", "linux-source-6.1", "initramfs-tools", "kmod", "zstd", "xz-utils",
    "make",
)  # fmt: skip
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "mkfs.ext4": "e2fsprogs", "debootstrap": "debootstrap"}
PINS = Path(__file__).parent / "pins"
GUEST = Path(__file__).parent / "guest_of_kernel"
"""Files that go into the machine beside those of the container."""
FROM_LINUX = ("drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c")
ROOM_MB = 700  # beside what is copied to the disk


def prepare(places: Places, *, mirror: str) -> None:
    """Make what is not there yet; `image.prepare` comes before. Raises: ConfigError, Unreachable."""
    image.check_tools(TOOLS)
    kernel, pins, disk = places.work / "kernel", places.work / "pins", places.work / "disk.img"
    image.step(kernel, (SUITE, *PACKAGES), lambda: image.bootstrap(places, kernel, PACKAGES, mirror))
    image.step(pins, (*image.digest([PINS]), image.stamp(kernel).read_text()), lambda: _make_pins(places, kernel, pins))
    made_of = [image.stamp(part).read_text() for part in (places.root, pins)]
    image.step(disk, (*image.digest([GUEST, places.film]), *made_of), lambda: _make_disk(places, disk))


def _make_pins(places: Places, kernel: Path, pins: Path) -> None:
    say("making the modules that Debian's kernel lacks")
    shutil.rmtree(pins, ignore_errors=True)
    inside = kernel / "usr/src/pins"
    shutil.rmtree(inside, ignore_errors=True)
    shutil.copytree(PINS, inside)
    log = places.work / "pins.log"
    source = next((kernel / "usr/src").glob("linux-source-*.tar.xz"))
    wanted = [f"{source.name.removesuffix('.tar.xz')}/{name}" for name in FROM_LINUX]
    image.run(["tar", "-xJf", source, "-C", inside, "--transform=s,.*/,,", *wanted], log, why="tar")
    irq_sim = inside / "irq_sim.c"  # Linux exports its inner part to no module, and the whole to every one
    irq_sim.write_text(
        irq_sim.read_text().replace("handle_simple_irq(irq_to_desc(irqnum))", "generic_handle_irq(irqnum)")
    )
    headers = next((kernel / "usr/src").glob("linux-headers-*-amd64"))
    make = ["make", "-C", f"/usr/src/{headers.name}", "M=/usr/src/pins", "modules"]
    image.run(["chroot", kernel, *make], log, why="make of the modules")
    pins.mkdir()
    for module in sorted(inside.glob("*.ko")):
        shutil.copy(module, pins)


def _make_disk(places: Places, disk: Path) -> None:
    say("making the disk")
    kernel, place = places.work / "kernel", places.work / "disk"
    log = places.work / "disk.log"
    (modules,) = (kernel / "lib/modules").iterdir()
    shutil.copytree(places.work / "pins", modules / "extra", dirs_exist_ok=True)
    image.run(["chroot", kernel, "depmod", modules.name], log, why="depmod")
    part = disk.with_suffix(".part")
    used_kb = int(subprocess.check_output(["du", "-s", "-k", places.root], text=True).split()[0])
    with part.open("wb") as file:
        file.truncate((used_kb // 1024 * 5 // 4 + ROOM_MB) * 1024 * 1024)
    place.mkdir(exist_ok=True)
    image.run(["mkfs.ext4", "-q", "-F", part], log, why="mkfs.ext4")
    image.run(["mount", "-o", "loop", part, place], log, why="mount")
    try:
        image.run(["cp", "-a", f"{places.root}/.", place], log, why="cp")
        shutil.copytree(modules, place / "lib/modules" / modules.name, symlinks=True, ignore=_links)
        shutil.copytree(GUEST, place, symlinks=True, dirs_exist_ok=True)
        shutil.copy(places.film, place / "srv/film.mp4")
    finally:
        image.run(["umount", place], log, why="umount")
    part.rename(disk)


def _links(folder: str, names: list[str]) -> list[str]:
    """Those to the headers, which are not on the disk."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def files(places: Places) -> tuple[Path, Path]:
    """(kernel, its first file system)."""
    linux = next((places.work / "kernel/boot").glob("vmlinuz-*"))
    return linux, linux.with_name(linux.name.replace("vmlinuz", "initrd.img"))
