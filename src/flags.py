"""Flags that several scripts have, declared once. Each takes a parser's or a group's add_argument."""
from . import console, generators


def model(add):
    """Which model."""
    add('--run_name', metavar='NAME', help='a run of train.py, in checkpoint/')
    add('--model_name', default='124M', metavar='NAME', help='a model, in models/, a folder, or a checkpoint; not used with --run_name')


def people(add, me, group=''):
    """Who talks with whom, and how it is written. me: what --me is. group: what --as takes beside a name."""
    add('--me', metavar='NAME', help=f'who {me}; default: the most talkative other person in the training data, or You')
    add('--as', dest='answerer', metavar='NAME',
        help=f'who answers{group}; default: who was learnt (train.py --learn_from), the most talkative in the training data, or Friend')
    add('--style', metavar='STYLE', help='how turns are written: name, timestamp, said, dialogpt, tokens, s; default: as in the training data, or name')


def folders(add):
    """Where models and runs lie."""
    add('--models_dir', default='models', metavar='PATH', help='the folder of the models')
    add('--checkpoint_dir', default='checkpoint', metavar='PATH', help='the folder of the runs')


def drawing(add):
    """How the next token is drawn, in a chat."""
    add('--temperature', type=console.nonnegative_float, default=0.95, metavar='T', help='below 1: more predictable, above: wilder; 0: always the likeliest')
    add('--top_k', type=console.count, default=40, metavar='K', help='draw from the K likeliest tokens; 0: off')
    add('--top_p', type=console.fraction, default=0.9, metavar='P', help='draw from the likeliest tokens that reach this probability; 0: off')


def precision(add):
    """In what a model that talks keeps its weights."""
    add('--precision', choices=generators.PRECISIONS, default='auto',
        help='of the weights; auto: int8 on a CPU, which is twice as fast as float32 and as good within a percent; '
             'on a GPU bfloat16 where it computes in that, else float32')


def verbose(add):
    add('--verbose', action='store_true', help="show TensorFlow's own messages")
