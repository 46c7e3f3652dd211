"""Simulators: what fits a change of the scan under which a network changes its mind."""
