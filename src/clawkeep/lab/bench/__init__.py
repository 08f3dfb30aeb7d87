"""The agent bench: the lab's own image with a tier's own configuration, run on this machine without a virtual one.

`changes` says how a gateway differs from its tier, `tree` has the image's files, `rendering` what role `openclaw`
writes, `container` puts these together as an engine would, `isolation` runs it, `gateway` is the whole, and `facts`
asks it as the collector does.
"""
