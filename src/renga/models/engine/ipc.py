"""What crosses the socket between the server and its engine process.

Owns: the messages (`Command` down, `Report` up) and their framing: a little-endian u32 length, then msgpack.
Must never know: text, chat templates, HTTP.
Invariants: every `SubmitCommand` is answered by `TokensReport` batches and exactly one end: a batch with `finish`, or
`FailedReport`; every `EmbedCommand` by one `EmbeddingReport` or `FailedReport`; after `CancelCommand` nothing more is
promised and nothing more is expected.
"""

import struct
from typing import Literal

import msgspec

Finish = Literal["stop", "length"]

LIVE = 0
BACKGROUND = 1
"""Priorities: somebody waits for it, or nobody does."""


EngineTask = Literal["generate", "embed"]
"""What an engine process does with its model: continue tokens, or turn texts into vectors."""
Pooling = Literal["mean", "cls", "last_token"]
"""How the vectors of a text's tokens become one vector of the text."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one engine process is started, and how much it takes on."""

    model_folder: str
    """Folder with openvino_model.xml and .bin."""
    task: EngineTask = "generate"
    vocabulary_folder: str = ""
    """Folder with the openvino_detokenizer.xml that models/engine/loading/detokenizer.py writes, made at the first
    start. An embedding model has none."""
    vocabulary_size: int
    """Number of token ids."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end every answer of this model."""
    context_tokens: int
    """Prompt and answer together may not be longer; a text to embed is cut there."""
    max_running: int
    """Requests decoded at once; the others wait."""
    max_background: int
    """Of these, how many background requests may be while live ones are there."""
    max_waiting: int
    """Requests that may wait; one more is refused with `Overloaded`."""
    max_batched_tokens: int = 512
    """Tokens of one step, prompt chunks and decoded ones together. Bounds how long one step, and so a cancel, takes."""
    prefill_chunk_tokens: int = 64
    """Tokens of a step that reads a background prompt while live requests are about. Whole blocks of the cache."""
    cache_blocks: int = 0
    """Key-value blocks, those of the prefix cache included; 0 is 1 GiB of them."""
    flush_interval_ms: float = 20.0
    """Tokens that come faster than this are sent together; a request's first and last go at once."""
    pooling: Pooling = "mean"
    """Of an embedding model; its vectors have the length 1."""
    device: str = "CPU"
    """An OpenVINO device name."""
    threads: int = 0
    """Inference threads; 0 leaves it to OpenVINO."""
    precision: str = ""
    """What the arithmetic is done in, as OpenVINO says it (`f32`); empty leaves it to OpenVINO, which takes bfloat16
    where the processor has it."""


class GenerationRequest(msgspec.Struct, frozen=True):
    """One request to the engine: continue these tokens."""

    prompt_token_ids: list[int]
    max_tokens: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all tokens."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for every time the answer has it."""
    repetition_penalty: float = 1.0
    """Divides the logits of what the prompt or the answer has."""
    seed: int | None = None
    """Same seed, prompt and settings give the same tokens. None: a fresh one each time."""
    grammar: str | None = None
    """EBNF with a rule `root`, as models/engine/grammar/answer_rules.py writes it."""
    stop_token_ids: list[int] = []
    """Besides the model's own."""
    images: tuple[bytes, ...] = ()
    """Image files that the prompt is about, in its order; refused by a pipeline that takes none."""
    adapter: str | None = None
    """The folder of an adapter to run the model with; refused by a pipeline that takes none."""
    key_id: str = ""
    """Whose turn it is: waiting requests are admitted round-robin over owners."""
    priority: int = LIVE
    """Lower goes first; within one priority owners take turns. Above `LIVE` a request makes room for live ones."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Texts to be turned into vectors, each on its own."""

    texts: tuple[str, ...]
    key_id: str = ""
    """Whose turn it is, as for generations."""
    priority: int = LIVE


class TokenBatch(msgspec.Struct, frozen=True):
    """What one request got out of one or more steps, in order."""

    token_ids: list[int]
    """Without the stop token that ended the answer."""
    logprobs: list[float]
    """Natural log of the probability of each chosen token, parallel to `token_ids`."""
    finish: Finish | None = None
    """Set on the last batch and only there."""
    cached_tokens: int | None = None
    """On the first batch: prompt tokens found in the prefix cache, where the engine can tell."""


class EngineStats(msgspec.Struct, frozen=True):
    """The engine's load, as of its last report."""

    running: int = 0
    waiting: int = 0
    cache_usage_ratio: float = 0.0
    """Share of the key-value cache that running requests hold, 0 to 1."""
    cache_bytes: int = 0


class SubmitCommand(msgspec.Struct, frozen=True, tag="submit"):
    """Queue a request for its turn in the engine."""

    request_id: int
    generation: GenerationRequest


class EmbedCommand(msgspec.Struct, frozen=True, tag="embed"):
    """Queue texts to be turned into vectors."""

    request_id: int
    embedding: EmbeddingRequest


class CancelCommand(msgspec.Struct, frozen=True, tag="cancel"):
    """Forget a request and free what it holds."""

    request_id: int


class ReadyReport(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded, and requests are read from now on."""


class UnusableReport(msgspec.Struct, frozen=True, tag="unusable"):
    """The report that the model cannot be loaded: the process ends, and a new start would not help."""

    message: str


class TokensReport(msgspec.Struct, frozen=True, tag="tokens"):
    """More tokens of one request, with its end where that has come."""

    request_id: int
    batch: TokenBatch
    is_first: bool = False
    """Whether nothing came before it."""


class EmbeddingReport(msgspec.Struct, frozen=True, tag="embedding"):
    """The vectors of all texts of one request, in their order; with it the request ends."""

    request_id: int
    vectors: list[list[float]]


class FailedReport(msgspec.Struct, frozen=True, tag="failed"):
    """One request ends in an error; the others go on."""

    request_id: int
    reason: Literal["invalid", "internal"]
    message: str


class StatsReport(msgspec.Struct, frozen=True, tag="metrics"):
    """Sent when the numbers of running or waiting requests change."""

    stats: EngineStats


Command = SubmitCommand | EmbedCommand | CancelCommand
Report = ReadyReport | UnusableReport | TokensReport | EmbeddingReport | FailedReport | StatsReport

_LENGTH = struct.Struct("<I")


class Frames:
    """Splits a byte stream into frames. Feed it whatever a read brought, in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and give the frames that are complete by now."""
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return frames


def encode_frame(message: Command | Report) -> bytes:
    """Encode one message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


decode_command = msgspec.msgpack.Decoder(Command).decode
decode_report = msgspec.msgpack.Decoder(Report).decode
