"""Verification: both sides asked in process, without a server, and compared by the mirror's rules.

    async with open_sides(Settings.load()) as sides:
        verification = await verify(sides, read_recordings(Path("var/recordings")))
    assert verification.passed, verification.differing

asking.py           one request to an ASGI app, as the mirror runs it: with the fence, kept whole
sides.py            the two sides of every route: of the gateway, or of it and another app
other_app.py        another ASGI app, in a process of its own
identity.py         who asks: headers and a session in the place of what was struck
verify.py           exchanges asked again, and what came out
fuzz.py             inputs that nobody recorded, by the rule's converters and the recorded values
junit.py            what came out, as JUnit XML
"""

from graft.verification.identity import Identity
from graft.verification.other_app import other_app
from graft.verification.sides import TwoSides, open_sides
from graft.verification.verify import Outcome, Verdict, Verification, verify

__all__ = ["Identity", "Outcome", "TwoSides", "Verdict", "Verification", "open_sides", "other_app", "verify"]
