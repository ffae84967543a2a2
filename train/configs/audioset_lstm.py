"""Our own tagger: a wide dense layer, an LSTM both ways over it, and for every class an attention
over both; half of its labels are its teachers'.

for i in 1 2; do python -m train fit audioset_teacher_$i; done
python -m train fit audioset_lstm
python -m train export audioset_lstm train/zoo/audioset-lstm

9 min on two cores, its teachers 6 min; MAP 0.376 on held-out clips, 0.271 on half of eval.
"""

from streamdet.model.config import TaggerModelConfig
from train.tagging.config import TaggerConfig

CONFIG = TaggerConfig(
    name="audioset-lstm",
    version="1",
    model=TaggerModelConfig(cells=(256,), dense=1024, skip=True),
    steps=1_650,
    warmup=100,
    dropout=0.5,
    mixup=0.5,
    spliced=0.1,
    shortest=6,
    balanced_share=0.25,
    teachers=("audioset_teacher_1", "audioset_teacher_2"),
    taught_share=0.5,
    average=0.999,
    validate_every=165,
    checkpoint_every=330,
)
