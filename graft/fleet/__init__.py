"""The fleet: hosts that share switches, history, leases and figures in one Elasticsearch (``GRAFT_FLEET``).

connection.py   the clients of the cluster, and what their errors mean
indices.py      what the indices are called and how they are mapped
cluster.py      the documents and what is asked of the cluster for them
waiting.py      the request that the cluster answers with the next change
snapshot.py     the switches of a fleet as one document
last_known.py   the last of them that this host saw, on its disk: what its workers follow
decisions.py    what was decided on this host without the cluster, until the fleet has it
host_decisions.py  how such a decision is made, and how the fleet has it later
commits.py      changes of the document by compare and set
fleet_history.py  what was changed, by whom and why
fleet_state.py  ``graft.operations.state.State`` over all that
of_this_host.py  the same, for a change that holds on this host at once
follower.py     a worker's copy; one worker of the host asks the cluster for all of them
keeper.py       what that worker does at each look
rests.py        what comes between two looks: a wait, or a pause
lease.py        what one host does for all, with a fence
publisher.py    tells the fleet what the workers of this host have counted
servers.py      what all servers have counted, and which of them live; server_document.py is how one tells it
fleet_trips.py  trips by what all hosts have failed of a route
fleet_baselines.py  what was counted since a route stands on its rung, of all servers together
outliers.py     one host of many whose native side fails

A room of its own beside ``graft.operations``, whose ``State`` it is one of two implementations of: nothing outside of
it knows a cluster, and without the setting nothing of it is imported.

No request of a user waits for any of it. Changes are made by compare and set (``if_seq_no``), so nobody's is lost;
clocks are compared nowhere, but for how old a failure is that another host has told.
"""

from __future__ import annotations
