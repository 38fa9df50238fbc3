"""The bundle for support holds what helps and nothing that names a person, a place, a network or a secret."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path

import pytest

from device import config as settings
from device.commands import doctor
from device.commands.doctor import DoctorPorts
from device.commands.known_names import known_names, networks
from device.commands.main import main
from device.install.redaction import redacted
from shared.clock import SystemClock

SECRETS = {
    "wearer": "Annegret Beispiel",
    "device": "annegret-7",
    "context": "way to the Lindenhof clinic",
    "server": "hub.beispiel-familie.example",
    "network": "Beispiel WLAN 5G",
    "psk": "gar-nicht-geheim-22",
    "user": "abeispiel",
    "ipv4": "192.168.178.54",
    "ipv6": "2001:db8:85a3::8a2e:370:7334",
    "link local": "fe80::1ff:fe23:4567:890a",
    "mac": "b8:27:eb:12:34:56",
    "mail": "annegret@beispiel.example",
    "key": "MC4CAQAwBQYDK2VwBCIEIGFubmVncmV0IGJlaXNwaWVs",
    "code": "K7QX-3M9T-0AZW-E4HB",
    "token": "3f9d1c0a77b24be58a0e6f4d2c91b7aa",
    "position": "52.520008, 13.404954",
    "password": "hunter2hunter2",
    "correction": "Kuchen",
    "bluetooth": "38_18_4C_E9_85_B4",
    "quoted": "geheim9",
    "bearer": "eyJhbGci",
    "apostrophe": "Funk",
    "claim": "k7qx-3m9t",
    "set-up": "tiefgeheim7",
    "headset": "AirPods",
}
AT = "2026-11-29T12:03:40+0000 waycue-device[412]: "
LOGGED = (
    "Walk annegret-7-0031 for Annegret Beispiel from camera:0",
    "hub.beispiel-familie.example:8883 (192.168.178.54) does not answer",
    "peer [2001:db8:85a3::8a2e:370:7334] via fe80::1ff:fe23:4567:890a b8:27:eb:12:34:56",
    "ssid 'Beispiel WLAN 5G', enrolled with K7QX-3M9T-0AZW-E4HB, annegret@beispiel.example",
    "-----BEGIN PRIVATE KEY-----",
    "MC4CAQAwBQYDK2VwBCIEIGFubmVncmV0IGJlaXNwaWVs",
    "-----END PRIVATE KEY-----",
    "rtsp://abeispiel:hunter2hunter2@192.168.178.54/live at 52.520008, 13.404954",
    "token 3f9d1c0a77b24be58a0e6f4d2c91b7aa of /home/abeispiel/waycue",
    "context way to the Lindenhof clinic; beispiel-pc.local is away",
    "The model has been at one picture for 4 s",
    "'You said: Anke mag Kuchen.' came too late to be said.",
    "played two notes on the Bluetooth output bluez_output.38_18_4C_E9_85_B4.1",
    'MQTT_PASSWORD: "a b c geheim9" and Authorization: Bearer eyJhbGci.x',
    "ssid 'Bea's Funk' is away; waycue:enrol?server=h:1&device=d&code=k7qx-3m9t-0azw-e4hb&key=tiefgeheim7",
    "Annegret's AirPods Pro are away; Beispiel said so",
)
JOURNAL = "".join(f"{AT}{line}\n" for line in LOGGED)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A machine's files with something secret in every one of them."""
    networks = tmp_path / "etc/NetworkManager/system-connections"
    networks.mkdir(parents=True)
    (networks / "Beispiel WLAN 5G.nmconnection").write_text(
        f"[connection]\nid={SECRETS['network']}\n[wifi]\nssid={SECRETS['network']}\n[wifi-security]\npsk={SECRETS['psk']}\n"
    )
    (tmp_path / "home/abeispiel").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    (tmp_path / "device.toml").write_text(
        f"""[device]
name = "{SECRETS["device"]}"
wearer = "{SECRETS["wearer"]}"
context = "{SECRETS["context"]}"
state = "{tmp_path / "state"}"
[capture]
source = "camera:97"
microphone = "none"
[broker]
address = "127.0.0.1:8883"
[guidance]
looks_per_s = 3.0
lead = "early"
[voice]
speech = "none"
output = "AirPods Pro"
"""
    )
    return tmp_path


def bundle(folder: Path, *, journal: str = JOURNAL) -> dict[str, str]:
    """What is in the bundle of this device."""

    def ask(command: tuple[str, ...]) -> str:
        answers = {"journalctl": journal, "nmcli": f"{SECRETS['network']}\nlo\n", "df": "/ ext4 30G 20G 33%\n"}
        return answers.get(command[0], "(not here)")

    arguments = argparse.Namespace(config=folder / "device.toml", state=None)
    files = doctor.examine(arguments, DoctorPorts(SystemClock(), ask, folder))
    with tarfile.open(fileobj=io.BytesIO(doctor.packed(files))) as held:
        assert {entry.mode for entry in held} == {0o600}
        read = {entry.name.removeprefix("waycue-doctor/"): held.extractfile(entry) for entry in held}
        return {name: file.read().decode() for name, file in read.items() if file is not None}


def test_no_planted_secret_is_in_the_bundle(device: Path) -> None:
    found = bundle(device)
    whole = "\n".join(found.values()).lower()
    assert [what for what, secret in SECRETS.items() if secret.lower() in whole] == []
    for part in ("annegret", "beispiel", "lindenhof"):
        assert part not in whole


@pytest.mark.parametrize(
    "slip",
    ["wearr = 1\n", "name = annegret-7\n", "[[\n", '[device]\n  wearer="Annegret Beispiel"\n[voice]\nspeech = "x"\n'],
    ids=["an unknown key", "no quotes", "no TOML", "a value that is refused"],
)
def test_settings_with_a_slip_name_their_wearer_in_the_log_no_more_than_good_ones(device: Path, slip: str) -> None:
    """A slip is what a doctor is most often asked about."""
    file = device / "device.toml"
    file.write_text(file.read_text() + slip)
    broken = settings.load(None, {"device.state": str(device / "state")})
    names = known_names(broken, SystemClock(), root=device, file=file, ask=lambda _: "")
    whole = redacted(JOURNAL, names).lower()
    for part in ("annegret", "beispiel-", "lindenhof", "airpods"):
        assert part not in whole


def test_networks_are_known_however_they_are_kept(tmp_path: Path) -> None:
    netplan, supplicant = tmp_path / "etc/netplan/50.yaml", tmp_path / "etc/wpa_supplicant/wpa.conf"
    for path in (netplan, supplicant):
        path.parent.mkdir(parents=True)
    netplan.write_text(
        'network:\n  wifis:\n    wlan0:\n      dhcp4: true\n      access-points:\n        "Bea\'s Funk":\n'
        '          auth:\n            key-management: psk\n            password: "tief geheim"\n'
        "        Gartenhaus: {}\n      optional: true\n"
    )
    supplicant.write_text('network={\n  ssid="Dachboden"\n  psk="hoch geheim"\n}\n')

    def ask(command: tuple[str, ...]) -> str:
        assert "--escape" in command  # otherwise a colon in a name would be one with a backslash
        return "waycue Kel:ler\nwaycue Hof (new)\nnetplan-wlan0-Turm\nlo\n"

    found = set(networks(tmp_path, ask))
    assert {"Bea's Funk", "tief geheim", "Gartenhaus", "Dachboden", "hoch geheim", "Kel:ler", "Hof", "Turm"} <= found
    assert not {"auth", "dhcp4", "optional"} & found


def test_of_a_battery_only_what_changes_is_told(tmp_path: Path) -> None:
    battery = tmp_path / "sys/class/power_supply/bank"
    battery.mkdir(parents=True)
    for name, text in (("serial_number", "XK71-SERIAL"), ("capacity", "55"), ("status", "Charging")):
        (battery / name).write_text(text)
    told = doctor._sensors(DoctorPorts(SystemClock(), lambda _: "", tmp_path))
    assert "55" in told
    assert "Charging" in told
    assert "SERIAL" not in told


@pytest.mark.parametrize(
    "text",
    [
        'device = {state = "/s", wearer = "Bea", x = 1}',
        'device.wearer = "Bea"',
        "[device]\nwearer='Bea'",
        '[privacy]\npause_at = [\n  "Home",  # ours\n  "Bea",\n]\n[device',
        '[capture]\nsource = "camera:Bea"',
        '[broker]\naddress = "Bea:1883"\n\ufeff',
    ],
)
def test_a_name_is_found_however_a_settings_file_is_written(tmp_path: Path, text: str) -> None:
    file = tmp_path / "device.toml"
    file.write_text(text)
    config = settings.load(None, {"device.state": str(tmp_path / "state")})
    assert "Bea" in known_names(config, SystemClock(), root=tmp_path, file=file, ask=lambda _: "")


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("x"), ImportError("x"), RecursionError()])
def test_a_part_that_is_broken_in_whatever_way_costs_no_other_part(error: Exception) -> None:
    def part() -> object:
        raise error

    assert type(error).__name__ in doctor._text(part)


def test_what_helps_is_in_the_bundle(device: Path) -> None:
    found = bundle(device)
    chosen = json.loads(found["settings.json"])
    assert (chosen["guidance"]["looks_per_s"], chosen["guidance"]["lead"]) == (3.0, "early")
    assert chosen["device"]["wearer"] == f"<set, {len(SECRETS['wearer'])}>"
    assert chosen["capture"]["source"] == "camera:…"
    assert "The model has been at one picture for 4 s" in found["journal.txt"]
    assert "2026-11-29T12:03:40" in found["journal.txt"]
    assert "Debian GNU/Linux 12" in found["about.json"]
    assert "numpy==" in found["packages.txt"]
    checks = {check["name"]: check["ok"] for check in json.loads(found["selftest.json"])["checks"]}
    assert checks["camera"] is False
    assert checks["disk"] is True
    assert found["outbox.json"]
    assert "30G" in found["disk.txt"]


@pytest.mark.parametrize(
    "text", ["[device\nwearer = 'Annegret Beispiel'\n", "[device]\nwearr = 'Annegret Beispiel'\n", "\x00"]
)
def test_settings_that_cannot_be_read_are_named_and_not_shown(device: Path, text: str) -> None:
    (device / "device.toml").write_text(text)
    found = bundle(device, journal="")
    assert json.loads(found["settings.json"])["trouble"]
    assert "annegret" not in "\n".join(found.values()).lower()


@pytest.mark.parametrize(
    "text",
    [
        "12:03:40 up 16:24, load average: 0.10, 1.13, 1.94",
        "onnxruntime==1.31.1\nopencv-python-headless==5.0.0.93",
        "2026-11-29T12:03:40+0000 kernel 6.6.51+rpt-rpi-v8, exit status 216/GROUP",
        "/var/lib/waycue-device/outbox/sealed: No space left on device",
        "a look took 1.8 s, at most 1.5 s are allowed; p95 0.12345",
        "the starter passes: it was tried; a token bucket of 3; keys: 4; Set-up: joining",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert redacted(text, {}) == text


@pytest.mark.parametrize(
    "text",
    [
        "password: abc",
        "'api_key': 'abc'",
        "MQTT_PASS=abc",
        "10.0.0.7",
        "connect to 10.0.0.7:8883",
        "::1",
        "fe80::1",
        "a@b.example",
        "AA-BB-CC-DD-EE-FF",
        "psk=abc",
        "Password=abc",
    ],
)
def test_shapes_of_secrets_are_taken_out_wherever_they_stand(text: str) -> None:
    secret = "abc" if "abc" in text else text.removeprefix("connect to ").removesuffix(":8883").split("=")[-1]
    assert secret not in redacted(f"x {text}, y", {})


def test_a_name_is_taken_out_whole_and_only_as_a_word() -> None:
    assert redacted("Ann walks; ANN's way; annual", {"ann": "wearer"}) == "<wearer> walks; <wearer>'s way; annual"
    assert redacted("a b", {"a": "wearer"}) == "a b"
    assert redacted("Anna Lee, Anna", {"Anna": "device", "Anna Lee": "wearer"}) == "<wearer>, <device>"


def test_the_command_writes_one_private_file(tmp_path: Path, device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bundle.tar.gz"
    assert main(["doctor", "--config", str(device / "device.toml"), "--out", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "read it before you hand it on" in capsys.readouterr().out
    assert main(["doctor", "--config", str(device / "device.toml"), "--out", "/proc/none/x"]) == 1
    assert main(["doctor", "--config", str(device / "device.toml"), "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("waycue-doctor-*.tar.gz"))) == 1
