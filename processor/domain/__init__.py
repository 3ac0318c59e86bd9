"""The pure core: events to observations, observations to outcomes, outcomes to counts and scores.

Nothing here reads a clock, a file or a network; every function is a function of its arguments.
"""
