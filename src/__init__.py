"""GPT-2 that talks like your chats. Read in this order; each file imports only from those above it.

    console.py     one sentence for the user, exit codes, TensorFlow without its start-up chatter
    files.py       whole files or none: temporary name, flush, rename
    encoder.py     text <-> token ids: GPT-2's byte-level BPE
    dialogue.py    conversation <-> text: the styles in which turns are written
    dataset.py     text -> token chunks (.npz) -> training batches
    model.py       token ids -> logits: the forward pass
    checkpoint.py  weights <-> files: model folders and run folders
    sample.py      logits -> tokens: filters, the cached step, sample_sequence
    trainer.py     batches -> better weights: loss, optimizer, train_step, resumable state
    chat.py        a conversation with a model: context window, end of turn, streaming
"""
