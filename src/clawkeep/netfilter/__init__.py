"""A semantic evaluator of netfilter rulesets: what becomes of a packet, and which rule decided it.

A ruleset is read from `nft -j list ruleset`; iptables' tables, which nft shows with opaque `xt` expressions, are read
from `iptables-save` and join as tables of the same form. What the evaluator does not understand is three-valued: such
an expression may match or not, and both worlds are followed. A packet is safely dropped only if every world drops it.
"""
