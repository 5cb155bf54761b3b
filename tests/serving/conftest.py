"""An index of drawn pictures with a model that reads texts and pixels, and a client that asks an app of it."""

from made_served import (  # noqa: F401
    client,
    client_of,
    made,
    model,
    named,
    own_index,
    png,
    serving,
    told_problem,
)
