"""GPT-2 that talks like your chats. Read in this order; each file imports only from those above it.

    console.py     one sentence for the user, exit codes, what may reach a terminal, TensorFlow without its start-up chatter
    files.py       whole files or none: temporary name, flush, rename; one who writes at a time
    workers.py     the processes that train together: who they are, that all are there, and what becomes of one that dies
    fetch.py       a file from the network: resumed, checked, whole
    words.py       long texts -> token ids: all words cut at once, most of them known already
    encoder.py     text <-> token ids: GPT-2's byte-level BPE
    dialogue.py    conversation <-> text: the styles in which turns are written
    memory.py      what was said, kept in one SQLite file: recall, forget
    source.py      export files where they lie: in folders, zips, zips within zips
    readers/       one file per export format or dataset -> threads of messages
    corpus.py      threads -> conversations to learn from
    privacy.py     names and messages without what leads to a person
    folders.py     model and run folders without their weights: the newest checkpoint, who speaks
    shards.py      numbers that stay on the disk: npz files larger than memory, read in parts
    batches.py     token chunks -> training batches: whose words are learnt, which windows are drawn
    dataset.py     text -> token chunks (.npz), and whose each token is
    hparams.py     a model's sizes, and the weights that they make
    model.py       token ids -> logits: the forward pass
    lora.py        low-rank adapters beside the weights: add, what is trained, merge
    bundles.py     checkpoints -> weights, without TensorFlow around its reader
    checkpoint.py  weights <-> files: model folders and run folders
    tflite.py      weights -> LiteRT's files, for lite.py and for phones
    tensors.py     files of weights as others write them: safetensors, PyTorch's without torch, HDF5
    hub.py         GPT-2s and GPT-Neos of the Hugging Face hub -> model folders
    settings.py    how the next token is drawn: the settings, what they can be, the random numbers
    stream.py      a text that goes on as long as one likes, whatever makes the tokens
    batch.py       texts that are made together: they come and go between two steps
    logits.py      logits -> the next token, in TensorFlow: filters, penalties, the draw, a step of beam search
    sample.py      tokens in bulk, in TensorFlow: the compiled step, its cache, sample_sequence
    choose.py      logits -> the next token, in NumPy
    lite.py        tokens on a CPU without TensorFlow: int8 or float32 weights in LiteRT, guesses of the one for the other
    generators.py  which of the two makes a model's tokens on this machine
    flags.py       flags that several scripts have
    fused.py       the forward pass and the loss as training wants them: less memory, fewer passes over it
    trainer.py     batches -> better weights: loss, optimizer, train_step, resumable state
    plan.py        what a training step will take, before any is spent, and what makes it fit
    history.py     what a run remembers of its course: history.csv, loss.png, TensorBoard, the best validation
    run.py         a training run: what it loads, what happens at each step
    chat.py        a conversation with a model: context window, who speaks, end of turn, streaming
    formats/       models as other runtimes keep them: one file per format
    intervals.py   how sure a number is that was found on so many texts
    scoring.py     how well a model foretells a text
    published.py   the datasets on which GPT-2 was published, and what the paper found
    replies.py     held-out conversations, in which the model answers
    likeness.py    how much replies are like a person's
    leaks.py       how much of a text stands word for word in the training data
    charts.py      numbers -> pictures
    report.py      what was found -> a table, a page
    transcript.py  conversations to and from text, JSON, a page
    terminal.py    a chat's two ends where no person types
    screen.py      the same for a person at a terminal
    commands.py    what a line does that begins with a slash
    talk.py        a chat as who types meets it: what becomes of a line, who answers, which conversation
    scheduler.py   the thread that makes the texts of all who ask
    api.py         what a request over HTTP may hold
    server.py      OpenAI's API in front of a model, and the page (web/index.html)
"""
import contextlib

with contextlib.suppress(ImportError):                  # before TensorFlow, which gives an SQLite of its own, without FTS5, to whoever asks for one later
    import sqlite3                                      # noqa: F401
