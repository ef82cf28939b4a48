"""A bounded key-value memory of earlier masks, as in space-time memory networks (Oh et al., ICCV 2019).

Keys are descriptors and colours of grid cells, values their soft masks. References are permanent, recent frames a FIFO.
"""
