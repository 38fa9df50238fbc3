"""Codes, proofs and bodies: what both sides compute, for any input."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.identity.connection_limit import network_of
from shared import claim_code, enrolment, setup_code
from shared.enrolment import EnrolAnswer, EnrolRequest
from shared.errors import ConfigError, MessageError
from shared.setup_code import SetupCode

KEY = claim_code.key_of("0000-0000-0000-0000")
FIELDS = st.sampled_from(["device", "csr_pem", "proof", "certificate_pem", "ca_pem", "broker", "root_json"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(FIELDS, part, max_size=7),
    max_leaves=10,
)


def test_a_code_is_four_groups_that_cannot_be_misread() -> None:
    codes = {claim_code.new_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)


def test_another_code_is_another_key() -> None:
    assert claim_code.key_of("0000-0000-0000-0001") != KEY
    assert claim_code.key_of("oooo-OOOO-0000-0000") == KEY


@given(st.text(max_size=40))
def test_any_text_is_a_code_or_is_refused(text: str) -> None:
    try:
        assert len(claim_code.key_of(text)) == 32
    except ConfigError:
        pass


@pytest.mark.parametrize("change", range(3))
def test_a_proof_holds_for_one_device_one_request_and_one_server(change: int) -> None:
    reported = ["pi-1", "csr", "f" * 64]
    first = enrolment.proof(KEY, *reported)
    reported[change] += "0"
    assert enrolment.proof(KEY, *reported) != first


def test_a_proof_is_no_answer() -> None:
    assert enrolment.proof(KEY, "server", "csr", "x") != enrolment.answer_mac(KEY, "csr", b"x")


@pytest.mark.parametrize("kind", [EnrolRequest, EnrolAnswer])
@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_body_or_refused(kind: type[EnrolRequest] | type[EnrolAnswer], data: bytes) -> None:
    try:
        enrolment.encode(enrolment.decode(kind, data))
    except MessageError:
        pass


def test_a_body_survives_the_way() -> None:
    request = EnrolRequest("pi-1", "csr", "ab")
    assert enrolment.decode(EnrolRequest, enrolment.encode(request)) == request


@pytest.mark.parametrize(
    "body",
    [
        {"device": "pi-1", "csr_pem": "x" * 8193, "proof": ""},
        {"device": "pi-1", "csr_pem": "x", "proof": "x" * 301},
        {"device": "../x", "csr_pem": "x", "proof": ""},
        {"device": "pi-1", "csr_pem": "é", "proof": ""},
        {"device": "pi-1", "csr_pem": "x"},
    ],
)
def test_a_body_with_something_wrong_is_refused(body: dict[str, str]) -> None:
    with pytest.raises(MessageError):
        enrolment.decode(EnrolRequest, json.dumps(body).encode())


def test_the_qr_code_says_what_the_command_line_would() -> None:
    text = setup_code.text_of(SetupCode("192.168.1.10:8443", "pi-1", "K7QX-3M9T-0AZW-E4HB"))
    assert text == "waycue:enrol?server=192.168.1.10:8443&device=pi-1&code=K7QX-3M9T-0AZW-E4HB"
    assert setup_code.parse(text) == SetupCode("192.168.1.10:8443", "pi-1", "K7QX-3M9T-0AZW-E4HB")


@given(st.text(max_size=80) | st.text(max_size=60).map(lambda text: f"waycue:enrol?{text}"))
def test_any_other_text_is_no_qr_code(text: str) -> None:
    try:
        setup_code.parse(text)
    except ConfigError:
        pass


def test_one_household_is_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("testclient") == "testclient"
