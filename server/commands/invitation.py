"""The QR code of `devices add`: on the terminal, as a picture, or as a page to print.

The code is 16 cm wide on paper: a camera of 640 × 480 pixels and 65° reads that from an arm's length and from a metre
away, tilted by up to 50° (docs/how-to/first-use.md). A file with a code in it is readable by its owner alone.
"""

from __future__ import annotations

import argparse
import getpass
import html
import io
import sys
from pathlib import Path

import segno

from shared import atomic, setup_code
from shared.errors import ConfigError
from shared.setup_code import SetupCode, WifiNetwork, WifiSecurity

PRINTED_MM = 160.0
BORDER = 4  # modules of white around it, as ISO/IEC 18004 asks for
DOTS = 20  # pixels a module
PASSWORD_PROMPT = "Password of the Wi-Fi {ssid} (not shown): "
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>waycue: code for {device}</title>
<style>
body {{ font: 16pt sans-serif; margin: 15mm; }}
svg {{ display: block; width: {size_mm:g}mm; height: {size_mm:g}mm; }}
@media print {{ @page {{ size: A4; margin: 15mm; }} body {{ margin: 0; }} }}
</style>
</head>
<body>
<h1>waycue: code for {device}</h1>
{code}
<ol>
<li>Switch the device on and wait until it says: Hold the code before the camera.</li>
<li>Hold this page upright before the camera, an arm's length away, flat and still, with light on it.</li>
<li>It says what it does and what to do. It is ready when it says: Ready.</li>
</ol>
<p>Good once, until {until}. {wifi}Destroy this page after use.</p>
</body>
</html>
"""


def add_flags(add: argparse.ArgumentParser) -> None:
    add.add_argument("--wifi", metavar="SSID", help="let the QR code join this Wi-Fi; its password is asked for")
    kinds = [kind.value for kind in WifiSecurity]
    add.add_argument("--wifi-security", choices=kinds, default="psk", help="psk: WPA2 and WPA3, sae: WPA3 alone, open")
    add.add_argument("--wifi-hidden", action="store_true", help="the Wi-Fi does not say its name")
    add.add_argument("--png", type=Path, metavar="FILE", help="write the QR code as a picture that prints 16 cm wide")
    add.add_argument("--svg", type=Path, metavar="FILE", help="the same as SVG")
    add.add_argument("--page", type=Path, metavar="FILE.html", help="a page to print: the QR code, and what to do")


def network(options: argparse.Namespace) -> WifiNetwork | None:
    """The Wi-Fi that was asked for; its password is typed, or is the first line of standard input, never an argument.

    raises: ConfigError
    """
    if options.wifi is None:
        return None
    security = WifiSecurity(options.wifi_security)
    password = "" if security is WifiSecurity.OPEN else _password(options.wifi)
    return WifiNetwork(options.wifi, security, password, options.wifi_hidden)


def _password(ssid: str) -> str:
    if sys.stdin.isatty():
        try:
            return getpass.getpass(PASSWORD_PROMPT.format(ssid=ssid))
        except EOFError:
            raise ConfigError(
                "No password was typed.", hint="For a network without one: --wifi-security open."
            ) from None
    return sys.stdin.readline().rstrip("\r\n")


def check_files(options: argparse.Namespace) -> None:
    """Before a code is made, which is shown once. Raises: ConfigError."""
    for path in (options.png, options.svg, options.page):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise ConfigError(f"{path} cannot be written.", hint="Name a file in a folder that exists.")


def qr(setup: SetupCode) -> segno.QRCode:
    return segno.make_qr(setup_code.text_of(setup), error="m")


def write_files(options: argparse.Namespace, setup: SetupCode, *, until: str) -> list[Path]:
    """Those that were asked for; 0600. Raises: OSError."""
    code = qr(setup)
    kinds = {options.png: _png, options.svg: _svg}
    written = {path: make(code) for path, make in kinds.items() if path is not None}
    if options.page is not None:
        written[options.page] = _page(code, setup, until).encode()
    for path, data in written.items():
        atomic.write_bytes(path, data, mode=0o600)
    return list(written)


def _png(code: segno.QRCode) -> bytes:
    width_px = code.symbol_size(scale=DOTS, border=BORDER)[0]
    out = io.BytesIO()
    code.save(out, kind="png", scale=DOTS, border=BORDER, dpi=round(width_px / (PRINTED_MM / 25.4)))
    return out.getvalue()


def _svg(code: segno.QRCode) -> bytes:
    out = io.BytesIO()
    modules = code.symbol_size(scale=1, border=BORDER)[0]
    code.save(out, kind="svg", unit="mm", scale=round(PRINTED_MM / modules, 3), border=BORDER, light="white")
    return out.getvalue()


def _page(code: segno.QRCode, setup: SetupCode, until: str) -> str:
    wifi = "" if setup.wifi is None else f"It holds the password of the Wi-Fi {html.escape(setup.wifi.ssid)}. "
    return PAGE.format(
        device=html.escape(setup.device),
        size_mm=PRINTED_MM,
        code=code.svg_inline(scale=1, border=BORDER, light="white", omitsize=True),
        until=html.escape(until),
        wifi=wifi,
    )
