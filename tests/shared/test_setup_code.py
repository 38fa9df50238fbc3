"""What a QR code of a first use may say, and what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import setup_code
from shared.errors import ConfigError
from shared.setup_code import SetupCode, UnusableNetwork, WifiNetwork, WifiSecurity

CODE = "K7QX-3M9T-0AZW-E4HB"
START = f"waycue:enrol?server=10.0.0.1:8443&device=anna&code={CODE}"
SSIDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda text: len(text.encode()) <= 32
)
PASSWORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63)


@given(SSIDS, PASSWORDS, st.booleans(), st.sampled_from([WifiSecurity.PSK, WifiSecurity.SAE]))
def test_any_network_goes_into_a_code_and_out_again(
    ssid: str, password: str, hidden: bool, security: WifiSecurity
) -> None:
    made = SetupCode("server.example:8443", "anna", CODE, WifiNetwork(ssid, security, password, hidden))
    assert setup_code.parse(setup_code.text_of(made)) == made
    other = WifiNetwork(ssid, security, "another password", hidden)
    assert repr(made.wifi) == repr(other)


@given(SSIDS, PASSWORDS, st.booleans())
def test_any_network_of_a_router_s_code_is_read(ssid: str, password: str, hidden: bool) -> None:
    def escaped(text: str) -> str:
        return "".join(f"\\{sign}" if sign in '\\;,:"' else sign for sign in text)

    text = f"WIFI:T:WPA;S:{escaped(ssid)};P:{escaped(password)};{'H:true;' if hidden else ''};"
    assert setup_code.parse(text) == WifiNetwork(ssid, WifiSecurity.PSK, password, hidden)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("WIFI:S:cafe;T:nopass;;", WifiNetwork("cafe", WifiSecurity.OPEN)),
        ("WIFI:S:cafe;;", WifiNetwork("cafe", WifiSecurity.OPEN)),
        ("WIFI:T:WPA2;S:cafe;P:password1;;", WifiNetwork("cafe", password="password1")),
        ("WIFI:T:WPA/WPA2;S:cafe;P:password1;;", WifiNetwork("cafe", password="password1")),
        ("WIFI:T:WPA3;S:cafe;P:password1;;", WifiNetwork("cafe", WifiSecurity.SAE, "password1")),
        (
            "WIFI:T:WPA;S:Anna\u00a0B \U0001f469\u200d\U0001f9af;P:password1;;",
            WifiNetwork("Anna\u00a0B \U0001f469\u200d\U0001f9af", password="password1"),
        ),
        ('WIFI:T:WPA;S:$(reboot)`x`\\;|&;P:pa\\"ss\\\\w\\;1;;', WifiNetwork("$(reboot)`x`;|&", password='pa"ss\\w;1')),
        ("WIFI:S:cafe;P:ignored1;;", WifiNetwork("cafe", WifiSecurity.OPEN)),
        ("wifi:t:sae;s:new;p:x;;", WifiNetwork("new", WifiSecurity.SAE, "x")),
        ("WIFI:T:WPA;R:1;S:mesh;P:password1;K:abc;;", WifiNetwork("mesh", password="password1")),
        ('WIFI:S:"00ff";T:WPA;P:password1;;', WifiNetwork("00ff", password="password1")),
    ],
)
def test_router_s_codes_of_all_writers_are_read(text: str, network: WifiNetwork) -> None:
    assert setup_code.parse(text) == network


@pytest.mark.parametrize(
    "text",
    [
        "WIFI:T:WEP;S:old;P:abcde;;",
        "WIFI:T:WPA2-EAP;S:work;P:password1;;",
        "WIFI:T:WPA;S:home;P:short;;",
        "WIFI:T:WPA;S:home;P:pässword1;;",
        f"WIFI:T:WPA;S:{'x' * 33};P:password1;;",
        f"{START}&ssid=home&auth=wep&key=abcde",
        f"{START}&ssid=home&auth=open&key=password1",
        f"{START}&ssid=home",
        f"{START}&ssid=a%0Ab&key=password1",
    ],
)
def test_a_network_that_cannot_be_joined_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(UnusableNetwork) as refused:
        setup_code.parse(text)
    assert "password1" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org/?server=10.0.0.1&device=anna&code=K7QX-3M9T-0AZW-E4HB",
        f"{START}&code={CODE}",
        f"{START}&ssid=a&ssid=b&key=password1",
        START.replace(CODE, "K7QX"),
        START.replace("anna", "Anna%20M"),
        START.replace("10.0.0.1:8443", "10.0.0.1:99999"),
        START + "&x=" + "y" * 1000,
        "WIFI:T:WPA;P:password1;;",
        "WIFI:",
    ],
)
def test_anything_else_is_no_code_of_ours(text: str) -> None:
    with pytest.raises(ConfigError):
        setup_code.parse(text)


@given(st.text(max_size=60).map(lambda text: f"WIFI:{text}") | st.text(max_size=60).map(lambda text: f"{START}&{text}"))
def test_whatever_stands_in_a_code_is_read_or_refused(text: str) -> None:
    try:
        setup_code.parse(text)
    except ConfigError:
        pass


def test_a_key_that_a_later_version_adds_is_left_out() -> None:
    assert setup_code.parse(f"{START}&volume=3") == SetupCode("10.0.0.1:8443", "anna", CODE)
