"""The names that can be chosen on the command line and in the library.

It imports nothing, so that `--help` can list them without loading what they stand for.
What grows by a module of its own is not among them: architectures stand in `train.architectures`,
export targets in `export.folders`, sources and sinks in the tables of their packages.
"""

MULTICLASS, BINARY, MULTILABEL = TASKS = ("multiclass", "binary", "multilabel")
RESIZE_MODES = ("stretch", "crop", "pad")
# What makes scores in 0-1 of a model's outputs.
SOFTMAX, SIGMOID, NO_ACTIVATION = ACTIVATIONS = ("softmax", "sigmoid", "none")

FLOAT32, FLOAT16, DYNAMIC, WEIGHTS8, INT8 = FORMATS = (
    "float32",
    "float16",
    "dynamic",
    "weights8",
    "int8",
)

# Whether `train` gives a model a label for unknown photos, its name, and what folders with examples
# of them are called.
UNKNOWN_AUTO, UNKNOWN_OFF = UNKNOWN_MODES = ("auto", "off")
UNKNOWN = "unknown"
COUNTER_EXAMPLES = (UNKNOWN, "none", "background", "other", "nothing")

# Share of known photos that keep their label beside the one for unknown photos.
DEFAULT_KNOWN_KEPT = 0.95

# Of `--sets`: the share of photos whose label set is to hold the right label.
SET_LEVELS = (0.8, 0.9, 0.95, 0.99)

# What a shift is called: how frames differ from the photos that a model was made with.
DARKER, BRIGHTER, BLURRED, GREY, OTHER = SHIFT_KINDS = (
    "darker",
    "brighter",
    "blurred",
    "grey",
    "other",
)

# Why a frame was kept in an inbox: it was collected by hand; the model was unsure of it, or found
# nothing that it knows; the decision changed with it; frames had begun to differ from the photos of
# the training; or it is of the random sample, which alone says how accurate a model is.
COLLECTED, UNSURE, NOT_KNOWN, CHANGED, SHIFTED, RANDOM = KEEP_REASONS = (
    "collected",
    "unsure",
    "unknown",
    "changed",
    "shift",
    "random",
)

# Keras takes no others.
SEEDS = 1 << 32

# In the order in which they are tried: the maintained runtime, the older small one, TensorFlow's.
BACKENDS = ("ai-edge-litert", "tflite-runtime", "tf.lite")

DATASETS = ("cifar10", "cifar100", "mnist", "fashion_mnist", "tf_flowers")
AUGMENTATIONS = ("none", "light", "strong")
BALANCES = ("weights", "oversample", "none")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "exponential", "plateau")
