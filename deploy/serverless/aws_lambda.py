"""Graft as an AWS Lambda function: ``pip install mangum==0.22.0``, handler ``aws_lambda.handler``.

Behind API Gateway (REST or HTTP), a function URL or an application load balancer. What does not fit there: background
tasks and mirrored requests stop when the answer is sent, WebSockets and streams are not passed on, and the data folder
is this instance's alone. GRAFT_DATA is ``/tmp/graft`` unless it says otherwise: nothing else can be written.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRAFT_DATA", "/tmp/graft")
os.environ.setdefault("PORTAL_DATA", os.environ["GRAFT_DATA"])

from mangum import Mangum

from gateway import app

# The lifespan runs around each event: an instance is frozen between two, and a connection to Elasticsearch that was
# kept would be dead when it thaws.
handler = Mangum(app, lifespan="on")
