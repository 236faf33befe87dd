"""Comparing strategies at equal cost, over several seeds: what is asked, plans, runs, what they tell."""
