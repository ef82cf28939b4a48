"""Train slime-tiny, our own small diffusion UNet, on pictures that a program draws.

Order of reading: ``textures``, ``shapes``, ``motion``, ``layers``, ``objects``, ``scene``, ``photometry``,
``pairs``, ``symmetry`` (the generator), then ``network``, ``losses``, ``model``, ``train`` (the trainer), then
``export``, ``evaluate`` and ``preview`` (what comes out).
"""
