"""The pure core: events to observations, observations to outcomes, outcomes to counts and scores.

No module in this package reads a clock, a file, the network or the environment: the result of every
function depends on its arguments only.
"""
