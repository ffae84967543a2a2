"""AudioSet's records, made here."""

from train.audioset.example import make_sequence_example_class


def example_of(c):
    made = make_sequence_example_class()()
    made.context.feature["video_id"].bytes_list.value.append(c.video_id.encode())
    made.context.feature["start_time_seconds"].float_list.value.append(c.start_s)
    made.context.feature["end_time_seconds"].float_list.value.append(c.end_s)
    made.context.feature["labels"].int64_list.value.extend(c.labels)
    for frame in c.frames:
        one = made.feature_lists.feature_list["audio_embedding"].feature.add()
        one.bytes_list.value.append(frame.tobytes())
    return made.SerializeToString()
