"""Text-to-image pipelines with the real classes of diffusers and transformers and tiny random weights.

Each builder saves a folder with ``save_pretrained`` (well below a megabyte, a second on one core) and returns it.
Their drawings are 64 x 64 pixels of coloured noise that depends on prompt and seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

SIZE = 64
"""Width and height of a drawing in pixels."""
_WIDTH = 32
"""Width of every hidden layer."""


def tiny_sd1(folder: Path) -> Path:
    """A pipeline of the class of Stable Diffusion 1 and SD-Turbo, with a safety checker that finds no fault."""
    return _save(_sd1(threshold=1.0), folder)


def tiny_sd1_flagging(folder: Path) -> Path:
    """The same with a safety checker whose thresholds flag, and so black out, every image."""
    return _save(_sd1(threshold=-1.0), folder)


def tiny_sdxl(folder: Path) -> Path:
    """A pipeline of the class of SDXL."""
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_clip_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_clip_text_config()),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(
            cross_attention_dim=2 * _WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(),
    )
    return _save(pipeline, folder)


def tiny_sd3(folder: Path) -> Path:
    """A pipeline of the class of Stable Diffusion 3 and 3.5."""
    torch.manual_seed(0)
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=SIZE // 2,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=_WIDTH,
            joint_attention_dim=_WIDTH,
            pooled_projection_dim=2 * _WIDTH,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.0),
        text_encoder=CLIPTextModelWithProjection(_clip_text_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_text_config()),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )
    return _save(pipeline, folder)


def tiny_flux(folder: Path) -> Path:
    """A pipeline of the class of FLUX.1; where no size is asked for, it draws 256 x 256 pixels."""
    torch.manual_seed(0)
    pipeline = FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=_WIDTH,
            pooled_projection_dim=_WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.0),
        text_encoder=CLIPTextModel(_clip_text_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )
    return _save(pipeline, folder)


def _save(pipeline: DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder


def _sd1(threshold: float) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_clip_text_config()),
        tokenizer=_clip_tokenizer(),
        unet=_unet(cross_attention_dim=_WIDTH),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=_checker(threshold),
        feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32),
    )


def _checker(threshold: float) -> StableDiffusionSafetyChecker:
    vision = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    config = CLIPConfig(
        text_config=_clip_text_config().to_dict(), vision_config=vision.to_dict(), projection_dim=_WIDTH
    )
    checker = StableDiffusionSafetyChecker(config)
    # An image is flagged where its cosine similarity to a concept exceeds the concept's threshold.
    checker.concept_embeds_weights.fill_(threshold)
    return checker


def _unet(**options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(_WIDTH, _WIDTH),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
        **options,
    )


def _vae(**options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        **options,
    )


def _clip_text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_CLIP_VOCABULARY),
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


# Bytes alone, without and with the mark of a word's end: every text can be read, one token a byte.
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
_CLIP_VOCABULARY = ["<|startoftext|>", "<|endoftext|>", *_BYTES, *(f"{byte}</w>" for byte in _BYTES)]


def _clip_tokenizer() -> CLIPTokenizer:
    vocabulary = {token: index for index, token in enumerate(_CLIP_VOCABULARY)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=128, d_model=_WIDTH, d_kv=8, d_ff=_WIDTH, num_layers=1, num_heads=4, decoder_start_token_id=0
        )
    )


def _t5_tokenizer() -> T5Tokenizer:
    letters = [("▁", -2.0), *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz,.")]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=512)
