"""Each source reads what its driver, its data sheet or its firmware gives."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device.board import ASK_THROTTLED, FIRMWARE_FILE, FirmwareBits, firmware, read_bits
from device.health.power.boards import ASK_PMIC, Jetson, RaspberryPi, read_pmic
from device.health.power.chips import DISCHARGE_CURVE, FuelGauge, OtherChip, PiSugar3, ShuntMonitor, percent_of_cell
from device.health.power.find import PowerPlaces, PowerSources
from device.health.power.i2c import I2cBus
from device.health.power.reading import PowerReading, merged
from device.health.power.supply import KernelSupply


def tree(folder: Path, **files: str) -> Path:
    """A folder of sysfs."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    return folder


@dataclass
class Bus:
    """Chips as their data sheets have them: address → register → its bytes. Stands for the wires of a bus."""

    chips: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def words(self, address: int, words: Mapping[int, int]) -> Bus:
        """Registers of 16 bits, the higher byte first."""
        chip = self.chips.setdefault(address, {})
        chip.update({register: word.to_bytes(2, "big") for register, word in words.items()})
        return self

    def read(self, address: int, register: int, count: int) -> bytes:
        if address not in self.chips:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return self.chips[address].get(register, bytes(count))


def pisugar(**changed: int) -> Bus:
    """changed: r<register>=byte"""
    chip = {"r0": 0x03, "r2": 0x40, "r34": 0x0E, "r35": 0xD8, "r42": 55} | changed
    return Bus({0x57: {int(name[1:]): bytes([byte]) for name, byte in chip.items()}})


# --- the kernel's class -----------------------------------------------------------------------------------------------


def test_a_battery_that_the_kernel_knows_tells_everything(tmp_path: Path) -> None:
    figures = {"type": "Battery", "capacity": "47", "status": "Discharging", "voltage_now": "3712000"}
    tree(tmp_path / "battery", **figures, current_now="-1500000", time_to_empty_now="5400")
    tree(tmp_path / "usb", type="USB", online="0")
    reading = KernelSupply(tmp_path).read()
    assert reading.percent == 47.0
    assert reading.charging is False
    assert reading.volts == pytest.approx(3.712)
    assert reading.watts == pytest.approx(5.568)
    assert reading.minutes_left == 90.0


@pytest.mark.parametrize(
    ("battery", "charger", "charging"),
    [
        ({"status": "Charging"}, {}, True),
        ({"status": "Full"}, {}, True),
        ({"status": "Discharging"}, {"online": "1"}, False),  # it feeds the board although a phone's charger is in
        ({"status": "Unknown"}, {"online": "1"}, True),
        ({"status": "Not charging"}, {"online": "1"}, True),
        ({}, {"online": "0"}, False),
        ({}, {}, None),
    ],
)
def test_whether_it_is_charged_is_read_from_it_or_from_its_charger(
    tmp_path: Path, battery: dict[str, str], charger: dict[str, str], charging: bool | None
) -> None:
    tree(tmp_path / "battery", type="Battery", capacity="50", **battery)
    tree(tmp_path / "usb", type="USB", **charger)
    assert KernelSupply(tmp_path).read().charging is charging


def test_the_battery_of_a_mouse_is_not_the_device_s(tmp_path: Path) -> None:
    tree(tmp_path / "hidpp_battery_0", type="Battery", scope="Device", capacity="9")
    with pytest.raises(OSError, match="no battery"):
        KernelSupply(tmp_path).read()


@pytest.mark.parametrize(
    ("files", "percent"),
    [
        ({"energy_now": "20000000", "energy_full": "40000000"}, 50.0),
        ({"charge_now": "1000", "charge_full": "4000"}, 25.0),
        ({"capacity": "104"}, 100.0),
    ],
)
def test_its_charge_is_what_is_in_it_of_what_can_be(tmp_path: Path, files: dict[str, str], percent: float) -> None:
    tree(tmp_path / "bat", type="Battery", **files)
    assert KernelSupply(tmp_path).read().percent == percent


@pytest.mark.parametrize("capacity", ["", "-22", "abc", "65535"])
def test_a_battery_that_tells_nonsense_tells_nothing(tmp_path: Path, capacity: str) -> None:
    tree(tmp_path / "bat", type="Battery", capacity=capacity, charge_now="5", charge_full="0")
    with pytest.raises(OSError, match="no battery"):
        KernelSupply(tmp_path).read()


def test_two_batteries_are_one(tmp_path: Path) -> None:
    tree(tmp_path / "a", type="Battery", capacity="40", status="Discharging", power_now="3000000")
    tree(tmp_path / "b", type="Battery", capacity="60", status="Unknown", power_now="2000000")
    reading = KernelSupply(tmp_path).read()
    assert (reading.percent, reading.charging) == (50.0, False)
    assert reading.watts == pytest.approx(5.0)


# --- chips ------------------------------------------------------------------------------------------------------------


def test_a_max17040_tells_volts_and_percent() -> None:
    """Data sheet 19-5210: VCELL in steps of 1.25 mV in the upper 12 bits, SOC in percent and 256ths."""
    bus = Bus().words(0x36, {0x02: 2960 << 4, 0x04: 0x4B80, 0x08: 0x0002})
    reading = FuelGauge(bus).read()
    assert (reading.percent, reading.charging) == (75.5, None)
    assert reading.volts == pytest.approx(3.70)


@pytest.mark.parametrize(
    ("crate", "charging", "minutes"),
    [(0x10000 - 120, False, pytest.approx(60 * 50 / 24.96)), (100, True, None), (2, None, None)],
)
def test_a_max17048_tells_how_fast_it_changes(crate: int, charging: bool | None, minutes: float | None) -> None:
    """Data sheet 19-6171: CRATE in steps of 0.208 % an hour, two's complement; VERSION 0x001_."""
    bus = Bus().words(0x36, {0x02: 0xB900, 0x04: 0x3200, 0x08: 0x0012, 0x16: crate})
    reading = FuelGauge(bus).read()
    assert (reading.percent, reading.charging, reading.minutes_left) == (50.0, charging, minutes)


def test_a_gauge_that_says_more_than_full_is_full() -> None:
    assert FuelGauge(Bus().words(0x36, {0x02: 0xD200, 0x04: 0x6680, 0x08: 3})).read().percent == 100.0


@pytest.mark.parametrize("words", [{0x02: 0xFFFF, 0x04: 0xFFFF}, {0x02: 0}, {0x02: 0xB900, 0x04: 0xFFFF}])
def test_something_else_at_the_gauge_s_address_is_no_gauge(words: dict[int, int]) -> None:
    with pytest.raises(OtherChip):
        FuelGauge(Bus().words(0x36, words)).read()


@pytest.mark.parametrize(
    ("address", "volts", "shunt_uv", "percent", "charging"),
    [
        (0x42, 8.196, -6330, 95.0, False),  # as a user of a Waveshare UPS HAT has it: 8.196 V, -6.330 mV
        (0x42, 7.42, -19210, 40.0, False),
        (0x43, 3.71, 8000, 40.0, True),
        (0x41, 11.13, 0, 40.0, None),
    ],
)
def test_an_ina219_tells_percent_from_the_cells_voltage_and_charging_from_the_sign(
    address: int, volts: float, shunt_uv: int, percent: float, charging: bool | None
) -> None:
    """SBOS448: bus voltage in steps of 4 mV from bit 3 on, with flags below; shunt in steps of 10 µV."""
    words = {0x00: 0x399F, 0x01: round(shunt_uv / 10) & 0xFFFF, 0x02: round(volts / 0.004) << 3 | 0b10}
    reading = ShuntMonitor(Bus().words(address, words), address).read()
    assert reading.percent == pytest.approx(percent, abs=1.5)
    assert reading.charging is charging
    assert reading.volts == pytest.approx(volts, abs=0.004)


@pytest.mark.parametrize(
    "words",
    [{0x00: 0x3998, 0x02: 925 << 3}, {0x00: 0x399F, 0x02: 0}, {0x00: 0x399F, 0x02: 1300 << 3}, {0x00: 0xFFFF, 0x02: 0}],
)
def test_an_ina219_that_sleeps_or_measures_something_else_is_no_battery(words: dict[int, int]) -> None:
    with pytest.raises(OtherChip):
        ShuntMonitor(Bus().words(0x43, words), 0x43).read()


def test_the_curve_rises_from_empty_to_full() -> None:
    volts = [2.5 + 0.01 * n for n in range(200)]
    percents = [percent_of_cell(v) for v in volts]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0.0, 100.0)
    assert [percent_of_cell(v) for v, _ in DISCHARGE_CURVE] == pytest.approx([p for _, p in DISCHARGE_CURVE])


def test_a_pisugar_3_tells_volts_percent_and_whether_it_is_fed() -> None:
    assert PiSugar3(pisugar(r2=0xC0)).read() == PowerReading(55.0, True, 3.8)
    assert PiSugar3(pisugar()).read().charging is False


@pytest.mark.parametrize("other", [{"r0": 0xFF}, {"r42": 180}, {"r34": 0x00}])
def test_an_eeprom_at_the_pisugar_s_address_is_no_pisugar(other: dict[str, int]) -> None:
    with pytest.raises(OtherChip):
        PiSugar3(pisugar(**other)).read()


def test_a_bus_that_is_not_there_or_is_no_bus_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        I2cBus(7, tmp_path).read(0x36, 2, 2)
    (tmp_path / "i2c-7").write_bytes(b"")
    with pytest.raises(OSError) as refused:
        I2cBus(7, tmp_path).read(0x36, 2, 2)
    assert refused.value.errno == errno.ENOTTY


# --- boards -----------------------------------------------------------------------------------------------------------

PMIC = """\
 3V7_WL_SW_A current(0)=0.10247270A
   3V3_SYS_A current(1)=0.10832820A
  VDD_CORE_A current(7)=1.42880000A
      HDMI_A current(22)=0.02002440A
 3V7_WL_SW_V volt(8)=3.71091200V
   3V3_SYS_V volt(9)=3.30910500V
  VDD_CORE_V volt(15)=0.90659250V
      HDMI_V volt(23)=5.07860000V
     EXT5V_V volt(24)=5.05716000V
      BATT_V volt(25)=0.00000000V
"""


def test_a_pi_5_tells_volts_and_watts() -> None:
    volts, watts = read_pmic(PMIC)
    assert volts == pytest.approx(5.05716)
    assert watts == pytest.approx(0.1024727 * 3.710912 + 0.1083282 * 3.309105 + 1.4288 * 0.9065925 + 0.0200244 * 5.0786)


@pytest.mark.parametrize("said", ["", 'error=1 error_msg="Command not registered"', "VDD_CORE_A current(7)=", "\0"])
def test_a_board_without_a_pmic_says_nothing(said: str) -> None:
    assert read_pmic(said) == (None, None)


@pytest.mark.parametrize(
    ("said", "bits"),
    [
        ("throttled=0x0\n", FirmwareBits(False, False, False)),
        ("throttled=0x50005\n", FirmwareBits(True, True, True)),
        ("throttled=0x1", FirmwareBits(False, True, False)),
        ("throttled=0x10000", FirmwareBits(False, False, True)),
        ("throttled=0x80008", FirmwareBits(True, False, False)),
        ("50005\n", FirmwareBits()),
        ("", FirmwareBits()),
        ("VCHI initialization failed", FirmwareBits()),
    ],
)
def test_under_voltage_and_slowing_down_are_read_from_the_firmware_s_bits(said: str, bits: FirmwareBits) -> None:
    assert read_bits(said) == bits


def test_the_kernel_s_voltage_monitor_tells_what_the_firmware_s_bits_no_longer_do(tmp_path: Path) -> None:
    tree(tmp_path / "class/hwmon/hwmon0", name="cpu_thermal")
    tree(tmp_path / "class/hwmon/hwmon1", name="rpi_volt", in0_lcrit_alarm="1")
    assert firmware(tmp_path, lambda command: "throttled=0x0") == FirmwareBits(False, True, True)
    (tmp_path / "class/hwmon/hwmon1/in0_lcrit_alarm").write_text("0\n")
    assert firmware(tmp_path, lambda command: "throttled=0x0") == FirmwareBits(False, False, False)
    assert firmware(tmp_path, lambda command: "") == FirmwareBits(None, False, False)


def test_an_older_kernel_s_file_is_read_without_running_a_program(tmp_path: Path) -> None:
    file = tmp_path / FIRMWARE_FILE
    file.parent.mkdir(parents=True)
    file.write_text("4\n")

    def refuse(command: tuple[str, ...]) -> str:
        raise AssertionError(command)

    assert firmware(tmp_path, refuse) == FirmwareBits(True, False, False)


def test_a_raspberry_pi_tells_both_and_another_board_nothing(tmp_path: Path) -> None:
    said: dict[tuple[str, ...], str] = {ASK_THROTTLED: "throttled=0x50000", ASK_PMIC: PMIC}
    reading = RaspberryPi(tmp_path, lambda command: said[command]).read()
    assert (reading.low_voltage, reading.low_voltage_before) == (False, True)
    assert reading.volts == pytest.approx(5.05716)
    with pytest.raises(FileNotFoundError):
        RaspberryPi(tmp_path, lambda command: "").read()


def jetson(sys: Path, chip: str, channels: list[tuple[str, str, str]]) -> None:
    files = dict[str, str]()
    for number, (label, millivolts, milliamperes) in enumerate(channels, 1):
        files |= {f"in{number}_label": label, f"in{number}_input": millivolts, f"curr{number}_input": milliamperes}
    tree(sys / f"bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon3", name="ina3221", **files)


def test_an_orin_nano_tells_watts_of_the_whole_board(tmp_path: Path) -> None:
    rows = [("VDD_IN", "5080", "1480"), ("VDD_CPU_GPU_CV", "5080", "300"), ("VDD_SOC", "5072", "400")]
    jetson(tmp_path, "1-0040", rows)
    reading = Jetson(tmp_path).read()
    assert reading.volts == pytest.approx(5.08)
    assert reading.watts == pytest.approx(5.08 * 1.48)


def test_an_agx_orin_s_parts_are_added_up_and_what_is_not_connected_is_left_out(tmp_path: Path) -> None:
    jetson(tmp_path, "1-0040", [("VDD_GPU_SOC", "19000", "100"), ("VDD_CPU_CV", "19000", "50"), ("NC", "0", "0")])
    jetson(tmp_path, "1-0041", [("VDDQ_VDD2_1V8AO", "19000", "30"), ("NC", "8", "999")])
    assert Jetson(tmp_path).read().watts == pytest.approx(19.0 * 0.18)
    with pytest.raises(FileNotFoundError):
        Jetson(tmp_path / "elsewhere").read()


# --- which there are --------------------------------------------------------------------------------------------------


def places(tmp_path: Path, bus: Bus, said: Mapping[tuple[str, ...], str] | None = None) -> PowerPlaces:
    (tmp_path / "device-tree").mkdir(exist_ok=True)
    known = dict(said or {})
    return PowerPlaces(tmp_path, tmp_path / "device-tree", lambda command: known.get(command, ""), bus)


def test_a_hat_on_the_bus_and_the_board_s_own_figures_are_one_reading(tmp_path: Path) -> None:
    bus = Bus().words(0x36, {0x02: 0xB900, 0x04: 0x3200, 0x08: 0x0002})
    sources = PowerSources("auto", places(tmp_path, bus, {ASK_THROTTLED: "throttled=0x1", ASK_PMIC: PMIC}))
    reading = sources.read(0.0)
    assert (sources.battery, reading.percent, reading.low_voltage) == ("max1704x", 50.0, True)
    assert reading.volts == pytest.approx(3.7)
    assert reading.watts is not None


@pytest.mark.parametrize("number", [0x41, 0x42, 0x43])
def test_a_hat_with_an_ina219_is_found_by_its_address(tmp_path: Path, number: int) -> None:
    volts = {0x41: 11.4, 0x42: 7.6, 0x43: 3.8}[number]
    bus = Bus().words(number, {0x00: 0x399F, 0x01: 0x10000 - 500, 0x02: round(volts / 0.004) << 3})
    sources = PowerSources("auto", places(tmp_path, bus))
    assert sources.read(0.0).percent == pytest.approx(55.0, abs=2)
    assert sources.battery == "ina219"


def test_the_kernel_s_battery_comes_first_and_a_named_one_alone(tmp_path: Path) -> None:
    bus = pisugar()
    tree(tmp_path / "class/power_supply/b", type="Battery", capacity="70")
    assert PowerSources("auto", places(tmp_path, bus)).read(0.0).percent == 70.0
    assert PowerSources("pisugar3", places(tmp_path, bus)).read(0.0).percent == 55.0
    assert PowerSources("max1704x", places(tmp_path, bus)).read(0.0).percent is None
    assert PowerSources("none", places(tmp_path, bus)).read(0.0) == PowerReading()


def test_a_hat_that_is_taken_off_is_looked_for_again_and_one_that_comes_later_is_found(tmp_path: Path) -> None:
    bus = Bus()
    sources = PowerSources("auto", places(tmp_path, bus))
    assert sources.read(0.0).percent is None
    bus.words(0x36, {0x02: 0xB900, 0x04: 0x3200, 0x08: 0x0002})
    assert sources.read(10.0).percent is None  # it is asked again once a minute
    assert sources.read(60.0).percent == 50.0
    chip = bus.chips.pop(0x36)
    assert sources.read(70.0) == PowerReading()
    bus.chips[0x36] = chip
    assert sources.read(140.0).percent == 50.0


def test_a_pc_s_bus_is_left_alone(tmp_path: Path) -> None:
    class Untouchable:
        def read(self, address: int, register: int, count: int) -> bytes:
            raise AssertionError(f"{address:#x} was asked")

    nowhere = PowerPlaces(tmp_path, tmp_path / "no-device-tree", lambda command: "", Untouchable())
    assert PowerSources("auto", nowhere).read(0.0) == PowerReading()


def test_of_each_figure_the_first_source_counts_that_says_it() -> None:
    reading = merged([PowerReading(volts=3.7), PowerReading(percent=40.0, volts=5.1, low_voltage=False)])
    assert reading == PowerReading(percent=40.0, volts=3.7, low_voltage=False)
