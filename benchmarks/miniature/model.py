"""The model: LLaVA's architecture as `transformers` has it, in small, with a tokenizer of whole words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from benchmarks.miniature.pictures import SIDE

PATCH = 16
IMAGE, USER, ASSISTANT, END, PAD, UNKNOWN = "<image>", "<user>", "<assistant>", "<end>", "<pad>", "<unknown>"

_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{% generation %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}<end>{% endgeneration %}"
    "{% else %}<user>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def words(text: str) -> list[str]:
    """A text in lower case, cut into words and punctuation marks: the model's tokens."""
    return re.findall(r"\w+(?:'\w+)*|[^\w\s]", text.lower())


def make_processor(texts: Iterable[str]) -> Any:
    """A `LlavaProcessor` whose tokenizer knows every word of ``texts`` and no other."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast, SiglipImageProcessorPil

    special = [PAD, UNKNOWN, IMAGE, USER, ASSISTANT, END]
    vocabulary = special + sorted({word for text in texts for word in words(text)})
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+(?:'\w+)*|[^\w\s]"), "removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=special[2:5],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.image_token = IMAGE
    images = SiglipImageProcessorPil(
        do_resize=False, size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=_TEMPLATE,
        image_token=IMAGE,
    )


def make_model(processor: Any, *, width: int = 192, layers: int = 4, seed: int) -> Any:
    """A fresh `LlavaForConditionalGeneration` of some 3 million parameters: SigLIP tower, projector, Llama decoder."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    tokenizer = processor.tokenizer
    vision = SiglipVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=int(2.5 * width),
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=True,
        attn_implementation="eager",  # On a CPU in bfloat16, fused attention takes nearly twice as long to train.
    )
    torch.manual_seed(seed)
    return LlavaForConditionalGeneration(config)
