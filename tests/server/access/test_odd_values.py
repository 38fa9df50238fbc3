"""Numbers and texts for which a database may have no room, asked of routes: the answer is that of any that is not
there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from server.web.permits import PERMITS
from tests.server.access.people import town

A_NUMBER = re.compile(r"\{(account_id|token_id|comment_id|run_id|browser_id|number)\}")
NUMBERED = [(permit.method, permit.path) for permit in PERMITS if A_NUMBER.search(permit.path)]
NUMBERS = (2**31, 2**63 - 1, 2**63)
FORM = {"sure": "yes", "off": "yes", "role": "caregiver", "wearers": "Ada"}
BODIES = {"allow": {"role": "caregiver", "wearers": ["Ada"]}, "disable": {"disabled": True}, "reset": {"hours": 1}}
TEXTUAL = ("/moments/{}", "/moments?q={}", "/api/samples/{}", "/api/samples?wearer={}", "/media/frames/{}", "/join/{}")
TEXTS = ("a\0b", "\ud800", "\uffff", "x" * 5_000)


@pytest.mark.both_databases
def test_a_number_or_a_text_that_no_row_has_is_no_error_of_the_database(tmp_path: Path) -> None:
    answers: dict[str, int] = {}
    with town(tmp_path) as site:
        moment = site.house.dataset.rows()[0].sample_id
        browser = site.as_("Ana")
        browser.app = site.app(whole=True)

        def ask(method: str, path: str, **body: object) -> None:
            answers[f"{method} {path:.80} {body}"] = browser.request(method, path, **body).status_code  # type: ignore[arg-type]

        for number in NUMBERS:
            ask("POST", "/api/undo", json={"act": number})
            for method, route in NUMBERED:
                path = A_NUMBER.sub(str(number), route.replace("{sample_id}", moment))
                body = (
                    {"json": BODIES[path.rpartition("/")[2]]}
                    if path.startswith("/api/") and method == "POST"
                    else {"data": FORM}
                )
                ask(method, path, **(body if method == "POST" else {}))
        for route in TEXTUAL:
            for text in TEXTS:
                ask("GET", route.format(quote(text.encode("utf-8", "surrogatepass"))))
    assert len(NUMBERED) > 10
    assert {asked: status for asked, status in answers.items() if status >= 500 or status == 413} == {}
