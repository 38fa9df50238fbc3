"""What a server prints at its start where nobody has an account yet and the page can be reached from elsewhere: the
first admin's invitation, as a link and as a QR code. Only a terminal gets it: a log is read by others.
"""

from __future__ import annotations

from typing import TextIO

import segno

from server.access.person import Role
from server.access.service import Access
from server.web.reached import PageReach

HOURS = 24.0


def tell(access: Access, reach: PageReach, out: TextIO) -> None:
    """Print how the first admin gets in, where nobody has an account."""
    if access.accounts.any():
        return
    if reach.alone:
        out.write("Only this machine reaches the page. To let others in: waycue-server accounts invite --role admin\n")
    elif not out.isatty():
        out.write("Nobody has an account yet. Make the first admin's: waycue-server accounts invite --role admin\n")
    else:
        access.invitations.withdraw_first()
        link = f"{reach.urls()[0]}/join/{access.invitations.invite(Role.ADMIN, None, by='', hours=HOURS)}"
        out.write(f"Nobody has an account yet. Open this link to become the admin; good once, for {HOURS:g} hours:\n")
        out.write(f"\n    {link}\n\n")
        segno.make_qr(link).terminal(out, compact=True)
    out.flush()
