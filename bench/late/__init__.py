"""How right the nowcast is in simulated worlds, beside other tools, and what it costs."""
