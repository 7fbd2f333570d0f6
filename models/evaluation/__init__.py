"""How good an llm or a policy is on labelled tickets: figures from columns of answers, and the temperature.

Called by `triage evaluate` and `triage calibrate` alone, because it needs numpy and scipy. Pure.
"""
