"""The safe lab: a real Debian virtual machine and stand-ins for the world around it.

Nothing in here is needed to verify a production host. The lab needs root (network namespaces and tap devices),
QEMU and mmdebstrap; every missing piece is told in one sentence by `LabError`.
"""
