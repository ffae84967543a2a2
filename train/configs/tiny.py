"""A detector for small machines: the second one's recipe with a quarter of its weights, kernels and
an LSTM of 48 and two residual layers.

python -m train recipe tiny my-bundle
"""

from dataclasses import replace

from train.configs.second import CONFIG as SECOND

CONFIG = replace(
    SECOND,
    name="streamdet-tiny",
    model=replace(
        SECOND.model,
        conv=((8, 5, 2), (48, 5, 2)),
        residual=((3, 1), (3, 2)),
        cells=(48,),
    ),
)
