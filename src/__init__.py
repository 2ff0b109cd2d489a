"""GPT-2 that talks like your chats. Read in this order; each file imports only from those above it.

    console.py     one sentence for the user, exit codes, TensorFlow without its start-up chatter
    files.py       whole files or none: temporary name, flush, rename
    fetch.py       a file from the network: resumed, checked, whole
    encoder.py     text <-> token ids: GPT-2's byte-level BPE
    dialogue.py    conversation <-> text: the styles in which turns are written
    source.py      export files where they lie: in folders, zips, zips within zips
    readers/       one file per export format or dataset -> threads of messages
    corpus.py      threads -> conversations to learn from
    dataset.py     text -> token chunks (.npz), and whose each token is -> training batches
    model.py       token ids -> logits: the forward pass
    checkpoint.py  weights <-> files: model folders and run folders
    sample.py      logits -> tokens: filters, the cached step, sample_sequence
    trainer.py     batches -> better weights: loss, optimizer, train_step, resumable state
    chat.py        a conversation with a model: context window, who speaks, end of turn, streaming
    transcript.py  conversations for reading: JSON, a page
"""
